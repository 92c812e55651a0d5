-- Adds one to a counter that lives from its first; says how many it has.
-- KEYS: the counter. ARGV: ms that it lives.

local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return count
