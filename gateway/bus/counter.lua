-- Replaces a value if nobody else has since it was read; says 1 if it did, else 0.
-- KEYS: the value. ARGV: what was read ("" for nothing), what replaces it, ms that it lives (0: as long as before).

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
