-- Keeps a log-off that nobody has confirmed, unless there are too many; says 1 if it did, else 0.
-- KEYS: the index (by the end of each), the value. ARGV: member of the index, value, ms that it lives, how many.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lives = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], now + lives, ARGV[1])
if redis.call('PTTL', KEYS[1]) < lives then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
