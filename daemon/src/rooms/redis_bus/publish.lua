-- KEYS[6]: what this daemon published here last. ARGV: epoch, event's id, kind, event, by, two of the kind's own.
local epoch, id, kind, event, by, one, two = unpack(ARGV, 6, 12)

if redis.call('HGET', room, 'epoch') ~= epoch then return {'unknown', '0', '0'} end

-- Sent again because no answer came.
local last = redis.call('GET', KEYS[6])
if last then
  local done, when, revision, sequence = string.match(last, '^(%d+) (%S+) (%d+) (%d+)$')
  if done == id then return {'done', when == epoch and revision or '0', sequence} end
end

local place = by ~= '' and redis.call('ZSCORE', places, by)
if by ~= '' and kind ~= 'join' and not place then return {'absent', '0', '0'} end
local numbered, at = false, '0'

local function host() return redis.call('ZRANGE', places, 0, 0)[1] == by end

if kind == 'join' then
  if not place then
    if redis.call('ZCARD', places) >= tonumber(one) then return {'full', '0', '0'} end
    place = math.max(now, tonumber(redis.call('HGET', room, 'place') or '0') + 1)
    redis.call('HSET', room, 'place', text(place))
    redis.call('ZADD', places, text(place), by)
  end
  at = text(place)
  redis.call('HSET', members, by, instance .. ' ' .. two)
elseif kind == 'leave' then
  remove(by)
elseif kind == 'code' or kind == 'language' then
  redis.call('HSET', room, kind, one)
  numbered = true
elseif kind == 'started' then
  redis.call('HSET', room, 'execution', instance .. ' ' .. one .. ' ' .. two, 'last', now_ms)
  redis.call('HINCRBY', room, 'count', 1)
  numbered = true
elseif kind == 'finished' then
  local running = redis.call('HGET', room, 'execution')
  if running and string.match(running, '^%S+ (%S+) ') == one then redis.call('HDEL', room, 'execution') end
  numbered = true
elseif kind == 'record' then
  if not host() then return {'not-host', '0', '0'} end
  if redis.call('HEXISTS', room, 'recording') == 1 then return {'recording', '0', '0'} end
  local from = text(redis.call('HGET', room, 'sequence') + 1)
  redis.call('HSET', room, 'recording', now_ms .. ' ' .. from .. ' ' .. one .. ' ' .. two)
elseif kind == 'stop' then
  if not host() then return {'not-host', '0', '0'} end
  if redis.call('HDEL', room, 'recording') == 0 then return {'not-recording', '0', '0'} end
elseif kind == 'advance' then
  if tonumber(one) <= tonumber(redis.call('HGET', room, 'sequence')) then return {'behind', '0', '0'} end
  redis.call('HSET', room, 'sequence', one)
elseif kind == 'fleeting' then
  -- No place in the order: whoever misses it misses nothing.
  local state = redis.call('HMGET', room, 'revision', 'sequence')
  redis.call('PUBLISH', channel, 'fleeting\n' ..
    table.concat({epoch, state[1], state[2], text(now), '0', instance, id}, ' ') .. '\n' .. event)
  return {'done', state[1], state[2]}
end

local revision, sequence = emit(numbered, at, id, event)
redis.call('SET', KEYS[6], table.concat({id, epoch, revision, sequence}, ' '), 'PX', keep_log)
expire()
return {'done', revision, sequence}
