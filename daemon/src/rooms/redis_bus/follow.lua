-- A daemon begins to follow a room. It says where it stands; afterwards Redis and it stand in the same place,
-- nothing that was given is taken back, and what is published next is next for it too.
-- ARGV: own channel, attempt, room's id, length of a lease, server's run id, new epoch, own epoch or '', own revision, own sequence,
-- code, language, count, last, execution or '', recording or '', then id, place and JSON of each own member.
local own, attempt, name, lease, run, fresh, epoch, revision, sequence, code, language, count, last, execution,
  recording = unpack(ARGV, 6, 20)
local first_member = 21

-- It lives, whatever its heartbeat was late for.
redis.call('ZADD', leases, text(now + lease), instance)

local stored = redis.call('HMGET', room, 'epoch', 'run', 'sequence')
local renewed = false

local function renew()
  if not renewed then
    redis.call('HSET', room, 'epoch', fresh, 'run', run, 'revision', '0')
    redis.call('DEL', log)
    renewed = true
  end
end

local function set(field, value)
  if value == '' then redis.call('HDEL', room, field) else redis.call('HSET', room, field, value) end
end

local function state()
  local all = redis.call('HMGET', room, 'epoch', 'revision', 'sequence', 'code', 'language', 'count', 'last',
    'execution', 'recording')
  local told = {
    epoch = all[1], revision = all[2], sequence = all[3], code = all[4], language = all[5], count = all[6],
    last = all[7] or nil, recording = all[9] or nil,
    execution = all[8] and string.match(all[8], '^%S+ (%S+) ') or nil,
  }
  local list = {}
  for _, id in ipairs(redis.call('ZRANGE', places, 0, -1)) do
    local value = redis.call('HGET', members, id)
    if value then
      table.insert(list, {text(redis.call('ZSCORE', places, id)), string.match(value, '^%S+ (.*)$')})
    end
  end
  if #list > 0 then told.members = list end
  return cjson.encode(told)
end

if not stored[1] then redis.call('DEL', members, places) end
-- A server that was started again may have forgotten the last that it said.
if not stored[1] or stored[2] ~= run then renew() end
if not stored[3] or tonumber(stored[3]) < tonumber(sequence) then
  renew()
  redis.call('HSET', room, 'sequence', sequence, 'code', code, 'language', language, 'count', count)
  set('last', last)
  set('execution', execution)
  set('recording', recording)
elseif execution ~= '' and not redis.call('HGET', room, 'execution') then
  renew()
  redis.call('HSET', room, 'execution', execution)
end
if renewed then redis.call('PUBLISH', channel, 'state\n' .. state()) end

reap()
local mine = {}
for at = first_member, #ARGV, 3 do
  local id, place, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  mine[id] = true
  local there = redis.call('ZSCORE', places, id)
  redis.call('HSET', members, id, instance .. ' ' .. json)
  if not there then
    redis.call('ZADD', places, place, id)
    if tonumber(place) > tonumber(redis.call('HGET', room, 'place') or '0') then
      redis.call('HSET', room, 'place', place)
    end
    emit(false, place, '0', '{"Joined":' .. json .. '}')
  end
end
for _, id in ipairs(redis.call('ZREVRANGE', places, 0, -1)) do
  if not mine[id] and daemon_of(redis.call('HGET', members, id)) == instance then
    remove(id)
    emit(false, '0', '0', '{"Left":' .. cjson.encode(id) .. '}')
  end
end
expire()

local now_at = redis.call('HMGET', room, 'epoch', 'revision')
local head = '\n' .. attempt .. '\n' .. name .. '\n'
if now_at[1] == epoch then
  local missing = now_at[2] - revision
  if missing >= 0 and missing <= redis.call('LLEN', log) then
    if missing > 0 then
      for _, message in ipairs(redis.call('LRANGE', log, -missing, -1)) do
        redis.call('PUBLISH', own, 'event' .. head .. message)
      end
    end
    redis.call('PUBLISH', own, 'level' .. head .. now_at[1] .. ' ' .. now_at[2])
    return 1
  end
end
redis.call('PUBLISH', own, 'state' .. head .. state())
return 2
