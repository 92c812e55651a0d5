-- Writes down what a node says of itself, with an end, in one step.
-- KEYS: the node's hash. ARGV: ms that it lives, then names and values.

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
