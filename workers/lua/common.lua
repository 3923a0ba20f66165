-- Shared by the scripts; script_text.py gives each what it uses of this file, and puts in names (K.TASK, RQ_STATUS). So at
-- the start of a line stands a comment or the `local` of a definition here, and nothing else.
-- A script is atomic but not rolled back: it reads and checks types first and writes last. Every answer is a list whose
-- first element is a word.

-- Milliseconds: what the caller passed (tests), else the server's clock.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- What tells how much a key of each type holds, and is an error where it is one of another type. TYPE says as much, at
-- half as much again.
local LENGTH = {hash = 'HLEN', list = 'LLEN', set = 'SCARD', stream = 'XLEN', zset = 'ZCARD'}

local function typed(key, kind)
  return type(redis.pcall(LENGTH[kind], key)) == 'number'
end

-- The answer about a key that holds another type than ours.
local function strange(key)
  return {'wrong_type', key, redis.call('TYPE', key).ok}
end

-- The first key of {key, type, key, type, ...} that holds another type, as an answer; nil when all are fit.
local function misfit(pairs_)
  for i = 1, #pairs_, 2 do
    if type(redis.pcall(LENGTH[pairs_[i + 1]], pairs_[i])) ~= 'number' then return strange(pairs_[i]) end
  end
  return nil
end

-- An answer where Redis is laid out for another major version, which this one must not write into; nil where it is ours.
-- What nobody has marked yet is, if there is anything, of the first layout there was.
local function other_layout()
  local row = redis.call('HMGET', K.LAYOUT, 'major', 'release')
  if row[1] and row[1] ~= LAYOUT.major then return {'other_layout', row[1], row[2] or ''} end
  return nil
end

-- Numbers a script calculates with; the first two stand in every task's row.
local NUMBERS = {'attempt', 'expires_at', 'pickups', 'deaths'}

-- As `misfit`, for the numbers of a task's row. What fails after the first write leaves half a transition, so a value
-- that somebody broke must be found before it.
local function broken_number(id, row)
  if not row.state then return nil end
  for i, name in ipairs(NUMBERS) do
    local value = row[name]
    -- Sixteen digits and more are not what they say once a script has calculated with them.
    if (value or i <= 2) and not (string.match(value or '', '^%d+$') and #value < 16) then
      return {'wrong_type', K.TASK .. id, 'hash without a whole number as ' .. name}
    end
  end
  return nil
end

-- The fields of a task's row by name: its state, its numbers and those that are named; {} where there is none. The
-- second value is as of `misfit`.
local function task_row(id, ...)
  local names, row = {'state', 'attempt', 'expires_at', 'pickups', 'deaths', ...}, {}
  local values = redis.pcall('HMGET', K.TASK .. id, unpack(names))
  if values.err then return nil, strange(K.TASK .. id) end
  for i, name in ipairs(names) do row[name] = values[i] or nil end
  return row, broken_number(id, row)
end

-- The same with all its fields.
local function whole_row(id)
  local flat, row = redis.pcall('HGETALL', K.TASK .. id), {}
  if flat.err then return nil, strange(K.TASK .. id) end
  for i = 1, #flat, 2 do row[flat[i]] = flat[i + 1] end
  return row, broken_number(id, row)
end

-- As `misfit`, for what stands beside a task's row.
local function unfit_beside(id)
  return misfit({K.CRUMBS .. id, 'list', K.ATTEMPTS .. id, 'hash'})
end

-- As `misfit`, for all rows of a task.
local function unfit(id)
  local _, wrong = task_row(id)
  return wrong or unfit_beside(id)
end

-- As `misfit`, for a queue that a task is to stand in: where it is no list the task goes among the strays, and where
-- those are no hash either nobody would ever find it.
local function no_room_in(queue)
  if typed(K.RQ_QUEUE .. queue, 'list') then return nil end
  return misfit({K.STRAYS, 'hash'})
end

-- The JSON array or object in a text; nil for anything else.
local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  return fine and type(value) == 'table' and value or nil
end

-- Redis refuses a script at maxmemory only while it has written nothing, and only for commands that may grow: begin
-- with one that cannot, so that a full Redis still beats, settles and drains.
local function open_at_maxmemory()
  redis.call('ZREM', K.OWNERS, '')
end

-- A whole number as a text: Redis takes those at a third of what numbers cost.
local function whole_number(value)
  return string.format('%.0f', value)
end

-- An object's members as a hash takes them, all in one command: each costs Lua more than it costs Redis.
local function flat_fields(object)
  local flat, count = {}, 0
  for field, value in pairs(object) do
    flat[count + 1], flat[count + 2] = field, value
    count = count + 2
  end
  return flat
end

local function write_fields(key, object)
  if next(object) then redis.call('HSET', key, unpack(flat_fields(object))) end
end

-- A breadcrumb as it is written.
local function crumb_row(at, from, event, to, reason, attempt, fence, who, rid, evidence)
  return {
    at, from or cjson.null, event, to, reason or '', attempt, fence or '', who or '', rid or '', evidence or ''}
end

local function crumb(id, ...)
  redis.call('RPUSH', K.CRUMBS .. id, cjson.encode(crumb_row(...)))
end

-- Whether one of the last breadcrumbs was written by this very request: its reply was lost and it was sent again. Those
-- of a task that ended in success are packed (keeping.lua), and its `row` names the requests behind them.
local function done_before(id, rid, row)
  for _, rids in ipairs({row.rids or '', row.rids2 or ''}) do
    if string.find(' ' .. rids .. ' ', ' ' .. rid .. ' ', 1, true) then return true end
  end
  -- Mostly it is in none of them, and none need be decoded.
  local quoted = cjson.encode(rid)
  for _, raw in ipairs(redis.call('LRANGE', K.CRUMBS .. id, -12, -1)) do
    local written = string.find(raw, quoted, 1, true) and decoded(raw)
    if written and written[9] == rid then return true end
  end
  return false
end

-- Moves RQ's view of a task. RQ's keys are a view and never the truth: one of a wrong type is passed over (the audit
-- names it), since a stranger's key must not keep running work from settling.
local function leave_view(id, queue, status, fence)
  if status == 'queued' then
    redis.pcall('LREM', K.RQ_QUEUE .. queue, 1, id)
  else
    redis.pcall('ZREM', RQ_REGISTRY[status] .. queue, status == 'started' and (id .. ':' .. fence) or id)
  end
end

-- Scores of +inf keep every clean-up of RQ's off our rows; only the deferred show their time, in milliseconds, by which
-- they are told from those that plain RQ put there, scored in seconds.
local function enter_view(id, queue, status, fence, due_ms)
  if status ~= 'queued' then
    local member = status == 'started' and (id .. ':' .. fence) or id
    local score = (status == 'deferred' and due_ms) or '+inf'
    redis.pcall('ZADD', RQ_REGISTRY[status] .. queue, score, member)
    return
  end
  redis.pcall('SADD', K.RQ_QUEUES, K.RQ_QUEUE .. queue)
  if type(redis.pcall('RPUSH', K.RQ_QUEUE .. queue, id)) == 'number' then
    redis.call('PUBLISH', K.BELL, queue)
  elseif typed(K.STRAYS, 'hash') then
    -- The one place that is more than a view: who is queued and in no queue would never be leased. A reaper puts it
    -- back once the queue is a list again.
    local reason = 'its queue is a key of another type'
    redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = reason, at = clock(ARGV[1])}))
  end
end

-- Where a task counts: one row per task, so that counting never drifts and the audit can compare each. A stranger's key
-- in its place must keep no task from moving: its error is dropped, and the next move writes the row anew.
local function count_as(id, queue, state)
  redis.pcall('ZADD', K.STATES .. string.match(queue, '^[^.]*'), STATE_NUMBER[state], id)
end

-- A slot as a worker of RQ's, by which its people find who has a job and send commands to it; as keys.rq_worker_name.
local function rq_worker(worker, queue, slot)
  return worker .. '.' .. string.match(queue, '^[^.]*') .. '.' .. slot
end

-- By the time of its end, for retention; as for counting, a stranger's key in the way keeps no task from moving.
local function end_as(id, from, to, now)
  if from and TERMINAL[from] then redis.pcall('ZREM', K.ENDED .. from, id) end
  if TERMINAL[to] then redis.pcall('ZADD', K.ENDED .. to, whole_number(now), id) end
end

-- `fields`: an object of RQ job hash fields. A job hash that somebody deleted is not made anew here: half a hash breaks
-- RQ's readers; the audit names it.
local function job_fields(id, fields)
  if next(fields) and redis.call('EXISTS', K.RQ_JOB .. id) == 1 then
    redis.pcall('HSET', K.RQ_JOB .. id, unpack(flat_fields(fields)))
  end
end

-- Adds a row to RQ's result stream; an empty one is none.
local function rq_result(id, row)
  local key = K.RQ_RESULTS .. id
  if not next(row) then return end
  if type(redis.pcall('XADD', key, 'MAXLEN', '10', '*', unpack(flat_fields(row)))) ~= 'string' then return end
  -- Redis reserves 4 KiB for the next rows of a stream, and this one gets no more; loaded anew it takes what it needs.
  local whole = redis.pcall('DUMP', key)
  if type(whole) == 'string' then redis.pcall('RESTORE', key, '0', whole, 'REPLACE') end
end

-- The record of attempt `n`, with `patch` merged into it. `record`: what it was, if anything.
local function patched(record, n, patch)
  record = record or {n = tonumber(n)}
  for field, value in pairs(patch) do record[field] = value end
  return record
end

local function patch_attempt(id, n, patch)
  local raw = redis.call('HGET', K.ATTEMPTS .. id, n)
  redis.call('HSET', K.ATTEMPTS .. id, n, cjson.encode(patched(raw and decoded(raw), n, patch)))
end

-- Each wish for a task that a slot has, and its queue: the wishes are the lines of one text, since as arguments each would
-- cost its sender more than all that is done with it here.
local function each_wish(wishes)
  return string.gmatch(wishes, '(([^ \n]+)[^\n]*)')
end

local function owner_deadline(owner)
  local score = redis.call('ZSCORE', K.OWNERS, owner)
  return score and tonumber(score) or nil
end
