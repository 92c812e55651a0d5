-- Lease on a user, held by one node. Runs on Redis 7.2+, Valkey 8+ and fakeredis[lua].
--
-- KEYS: own (hash: node, holder, token; expires with the lease), tok (string: the last granted token); renew takes
-- both keys of each of several users.
-- ARGV: verb, node, holder, token, lease ms, floor ms; then for acquire: floor, expected ("" for none); for renew:
-- the tokens of the second and all further users.
-- Returns: seconds and microseconds of this server's clock, then the result of the verb.
-- Numbers are exact: microseconds since 1970 stay below 2^53 until the year 2255.

local verb, node, holder, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')

-- A value that no node can have written counts as missing: a token is a number in digits, at most 2^53 - 2^32, so
-- that a double holds it and its successors exactly.
local function sane(text)
  local number = text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
  return number and number <= 9007194959773696 and text or false
end

local own, tok, present, floor

-- A key of another type is deleted: it would refuse the lease of its user, and the renewals of all users beside.
local function typed(key, command, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) ~= 'table' or not found.err then
    return found
  end
  if string.find(found.err, 'WRONGTYPE', 1, true) then
    redis.call('DEL', key)
  end
  return redis.call(command, key, ...)
end

local function read(first)
  own, tok = KEYS[first], KEYS[first + 1]
  present = typed(own, 'HMGET', 'node', 'holder', 'token')
  if not sane(present[3]) then
    present = {false, false, false}
  end
  floor = tonumber(sane(typed(tok, 'GET')) or 0)
end

local function grant(number)
  redis.call('HSET', own, 'node', node, 'holder', holder, 'token', number)
  redis.call('PEXPIRE', own, ARGV[5])
  redis.call('SET', tok, number, 'PX', ARGV[6])
end

local function mine()
  return present[2] == holder and present[3] == token
end

read(1)

-- Grant when there is no lease, when its token is the expected one, or when its holder asks again. Returns the
-- present node, holder and token.
if verb == 'acquire' then
  if present[3] and present[3] ~= ARGV[8] and present[2] ~= holder then
    return {time[1], time[2], present[1], present[2], present[3]}
  end
  local last = math.max(floor, tonumber(present[3] or 0))
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local number = string.format('%.0f', math.max(now, last + 1, tonumber(ARGV[7]) + 1))
  grant(number)
  return {time[1], time[2], node, holder, number}
end

-- Extend the caller's lease; restore it when it expired and no later one was granted; accept a token above all
-- granted ones, which its holder took while no server answered. Returns 1 when the lease is renewed, else 0.
local function renew()
  local last = math.max(floor, tonumber(present[3] or 0))
  local number = tonumber(token)
  local renewed = mine() or number > last or (number == last and not present[3])
  if renewed then
    grant(token)
  end
  return renewed and 1 or 0
end

if verb == 'renew' then
  local answers = {time[1], time[2], renew()}
  for user = 2, #KEYS / 2 do
    read(2 * user - 1)
    token = ARGV[5 + user]
    answers[user + 2] = renew()
  end
  return answers
end

-- Delete the caller's lease. The last granted token stays.
if verb == 'release' then
  if mine() then
    redis.call('DEL', own)
  end
  return {time[1], time[2]}
end

return redis.error_reply('ERR unknown verb')
