-- Deletes ended tasks, the oldest first, each with everything that Redis holds of it; a bounded number in one call.
-- ARGV: 1 now_ms or ''; 2 most to look at; 3 '1' to delete nothing and only say what would go;
--       4 JSON {state: ms for which its tasks are kept}; 5 JSON {state: how many of its oldest to pass over};
--       6 bytes after which it is enough ('' = none).
-- Returns: ok, '1' if there is more to look at, JSON {state: how many to pass over next time},
--          {id, state, bytes, ended_at, ...} | wrong_type, key, type of a list that every task is in.
-- Passed over are tasks whose idempotency key still holds (deleted, the key would make a second task of one request),
-- those whose followers have not been told, and those whose rows are damaged: the audit names them.
local now = clock(ARGV[1])
local dry, keep, offset = ARGV[3] == '1', cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local wrong = misfit({K.OWNERS, 'zset', K.TASKS, 'zset', K.DUE, 'zset', K.AGES, 'zset', K.STRAYS, 'hash'})
if wrong then return wrong end

local function keys_of(id)
  return {K.TASK .. id, K.CRUMBS .. id, K.ATTEMPTS .. id, K.RQ_JOB .. id, K.RQ_RESULTS .. id, K.EFFECTS .. id}
end

-- The end of that state which is the oldest to go, or nil.
local function oldest()
  local found, at, state = nil, nil, nil
  for candidate, kept in pairs(keep) do
    local place = offset[candidate] or 0
    if typed(K.ENDED .. candidate, 'zset') then
      local row = redis.call('ZRANGE', K.ENDED .. candidate, place, place, 'WITHSCORES')
      local ended = tonumber(row[2])
      if ended and ended <= now - kept and (not at or ended < at) then found, at, state = row[1], ended, candidate end
    end
  end
  return found, at, state
end

-- Its queue and the key that names it ('' = none); nil for one that is kept for now.
local function doomed(id, state)
  if misfit({K.TASK .. id, 'hash', K.CRUMBS .. id, 'list', K.ATTEMPTS .. id, 'hash'}) then return nil end
  local row = redis.call('HMGET', K.TASK .. id, 'state', 'queue', 'key')
  if row[1] ~= state or not row[2] then return nil end
  if redis.call('EXISTS', K.FOLLOWERS .. id) == 1 then return nil end
  local key = row[3] or ''
  if key == '' or redis.call('TYPE', key).ok ~= 'hash' then return row[2], '' end
  local held = redis.call('HMGET', key, 'id', 'until')
  if held[1] ~= id then return row[2], '' end
  if tonumber(held[2]) and tonumber(held[2]) > now then return nil end
  return row[2], key
end

local function bytes_of(id)
  local bytes = 0
  for _, key in ipairs(keys_of(id)) do bytes = bytes + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0) end
  return bytes
end

open_at_maxmemory()
local gone, freed, enough = {}, 0, tonumber(ARGV[6])
for _ = 1, tonumber(ARGV[2]) do
  if enough and freed >= enough then break end
  local id, at, state = oldest()
  if not id then return {'ok', '', cjson.encode(offset), gone} end
  local queue, key = doomed(id, state)
  if queue then
    local bytes = bytes_of(id)
    freed = freed + bytes
    for _, value in ipairs({id, state, bytes, at}) do gone[#gone + 1] = value end
  end
  if dry or not queue then
    offset[state] = (offset[state] or 0) + 1
  else
    local begun = redis.pcall('HKEYS', K.EFFECTS .. id)
    for _, name in ipairs(begun.err and {} or begun) do redis.pcall('ZREM', K.UNCONFIRMED, id .. ' ' .. name) end
    for _, one in ipairs(keys_of(id)) do redis.call('UNLINK', one) end
    if key ~= '' then redis.call('UNLINK', key) end
    redis.call('ZREM', K.TASKS, id)
    redis.call('ZREM', K.DUE, id)
    redis.call('ZREM', K.AGES, id)
    redis.call('ZREM', K.ENDED .. state, id)
    redis.pcall('ZREM', K.STATES .. string.match(queue, '^[^.]*'), id)
    redis.call('HDEL', K.STRAYS, id)
    leave_view(id, queue, RQ_STATUS[state], '')
  end
end
return {'ok', (enough and freed >= enough) and '' or '1', cjson.encode(offset), gone}
