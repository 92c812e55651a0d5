"""Where does the time go on one stretch of the path?"""
