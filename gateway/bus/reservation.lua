-- Makes a reservation unless it was made or there are too many; returns all that have not expired, in their order.
-- KEYS: the reservations, by when they were made. ARGV: the reservation, ms that it lives, how many at most.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2] * 1000)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[3]) then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0
  redis.call('ZADD', KEYS[1], math.max(now, last + 1), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
