-- Goes before each script that touches a room. Numbers beyond 14 digits must be written by `text`.
local room, members, places, log, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local channel, instance, keep, keep_log, log_length = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = text(math.floor(now / 1000))

-- Gives an event its place, keeps it for who missed it, and tells every daemon.
local function emit(numbered, place, id, event)
  local revision = text(redis.call('HINCRBY', room, 'revision', 1))
  local sequence
  if numbered then
    sequence = text(redis.call('HINCRBY', room, 'sequence', 1))
  else
    sequence = redis.call('HGET', room, 'sequence')
  end
  local epoch = redis.call('HGET', room, 'epoch')
  local message = table.concat({epoch, revision, sequence, text(now), place, instance, id}, ' ') .. '\n' .. event
  redis.call('RPUSH', log, message)
  redis.call('LTRIM', log, -log_length, -1)
  redis.call('PUBLISH', channel, 'event\n' .. message)
  return revision, sequence
end

local function remove(id)
  redis.call('ZREM', places, id)
  redis.call('HDEL', members, id)
  if redis.call('ZCARD', places) == 0 then redis.call('HDEL', room, 'recording') end
end

local function daemon_of(value) return value and string.match(value, '^(%S+) ') end

-- Who asks lives.
local function is_dead(daemon)
  if daemon == instance then return false end
  local lease = daemon and redis.call('ZSCORE', leases, daemon)
  return not lease or tonumber(lease) <= now
end

-- What dead daemons left behind: the latest goes first, so that the host changes but once.
local function reap()
  for _, id in ipairs(redis.call('ZREVRANGE', places, 0, -1)) do
    if is_dead(daemon_of(redis.call('HGET', members, id))) then
      remove(id)
      emit(false, '0', '0', '{"Left":' .. cjson.encode(id) .. '}')
    end
  end
  local execution = redis.call('HGET', room, 'execution')
  if execution and is_dead(daemon_of(execution)) then
    redis.call('HDEL', room, 'execution')
    emit(true, '0', '0', string.match(execution, '^%S+ %S+ (.*)$'))
  end
end

local function expire()
  for _, key in ipairs({room, members, places}) do redis.call('PEXPIRE', key, keep) end
  redis.call('PEXPIRE', log, keep_log)
end
