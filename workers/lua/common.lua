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

local function typed(key, kind)
  local actual = redis.call('TYPE', key).ok
  return actual == kind or actual == 'none', actual
end

-- The first of {key, type} pairs that holds another type, as an answer; nil when all are fit.
local function misfit(pairs_)
  for _, pair in ipairs(pairs_) do
    local fit, actual = typed(pair[1], pair[2])
    if not fit then return {'wrong_type', pair[1], actual} end
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

-- As `misfit`, for the numbers of a task, whose key is a hash. What fails after the first write leaves half a
-- transition, so a value that somebody broke must be found before it.
local function broken_number(id)
  local row = redis.call('HMGET', K.TASK .. id, 'state', unpack(NUMBERS))
  if not row[1] then return nil end
  for i = 1, #NUMBERS do
    local value = row[i + 1]
    -- Sixteen digits and more are not what they say once a script has calculated with them.
    if (value or i <= 2) and not (string.match(value or '', '^%d+$') and #value < 16) then
      return {'wrong_type', K.TASK .. id, 'hash without a whole number as ' .. NUMBERS[i]}
    end
  end
  return nil
end

-- As `misfit`, for the rows of a task.
local function unfit(id)
  return misfit({{K.TASK .. id, 'hash'}, {K.CRUMBS .. id, 'list'}, {K.ATTEMPTS .. id, 'hash'}}) or broken_number(id)
end

-- As `misfit`, for a queue that a task is to stand in: where it is no list the task goes among the strays, and where
-- those are no hash either nobody would ever find it.
local function no_room_in(queue)
  if typed(K.RQ_QUEUE .. queue, 'list') then return nil end
  return misfit({{K.STRAYS, 'hash'}})
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

-- A value that is to be written: '@now' stands for the script's time, '@now-37' for 37 ms before it.
local function timed(value, now)
  if value == '@now' then return now end
  local ago = type(value) == 'string' and string.match(value, '^@now%-(%d+)$')
  return ago and now - tonumber(ago) or value
end

-- Writes an object's members to a hash in one command: each costs Lua more than it costs Redis.
local function write_fields(key, object, now)
  local flat = {}
  for field, value in pairs(object) do
    flat[#flat + 1] = field
    flat[#flat + 1] = timed(value, now)
  end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end

local function crumb(id, at, from, event, to, reason, attempt, fence, who, rid, evidence)
  redis.call('RPUSH', K.CRUMBS .. id, cjson.encode({
    at, from or cjson.null, event, to, reason or '', attempt, fence or '', who or '', rid or '', evidence or ''}))
end

-- Whether one of the last breadcrumbs was written by this very request: its reply was lost and it was sent again. Those
-- of a task that ended in success are packed (keeping.lua), and its row names the requests behind them.
local function done_before(id, rid)
  for _, rids in ipairs(redis.call('HMGET', K.TASK .. id, 'rids', 'rids2')) do
    if rids and string.find(' ' .. rids .. ' ', ' ' .. rid .. ' ', 1, true) then return true end
  end
  for _, raw in ipairs(redis.call('LRANGE', K.CRUMBS .. id, -12, -1)) do
    local written = decoded(raw)
    if written and written[9] == rid then return true end
  end
  return false
end

-- Moves RQ's view of a task. RQ's keys are a view and never the truth: one of a wrong type is passed over (the audit
-- names it), since a stranger's key must not keep running work from settling.
local function leave_view(id, queue, status, fence)
  if status == 'queued' then
    if typed(K.RQ_QUEUE .. queue, 'list') then redis.call('LREM', K.RQ_QUEUE .. queue, 1, id) end
  elseif typed(RQ_REGISTRY[status] .. queue, 'zset') then
    redis.call('ZREM', RQ_REGISTRY[status] .. queue, status == 'started' and (id .. ':' .. fence) or id)
  end
end

-- Scores of +inf keep every clean-up of RQ's off our rows; only the deferred show their time, in milliseconds, by which
-- they are told from those that plain RQ put there, scored in seconds.
local function enter_view(id, queue, status, fence, due_ms)
  if status == 'queued' then
    if typed(K.RQ_QUEUES, 'set') then redis.call('SADD', K.RQ_QUEUES, K.RQ_QUEUE .. queue) end
    if typed(K.RQ_QUEUE .. queue, 'list') then
      redis.call('RPUSH', K.RQ_QUEUE .. queue, id)
      redis.call('PUBLISH', K.BELL, queue)
    elseif typed(K.STRAYS, 'hash') then
      -- The one place that is more than a view: who is queued and in no queue would never be leased. A reaper puts it
      -- back once the queue is a list again.
      local reason = 'its queue is a key of another type'
      redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = reason, at = clock(ARGV[1])}))
    end
  elseif typed(RQ_REGISTRY[status] .. queue, 'zset') then
    local member = status == 'started' and (id .. ':' .. fence) or id
    local score = (status == 'deferred' and due_ms) or '+inf'
    redis.call('ZADD', RQ_REGISTRY[status] .. queue, score, member)
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
  if TERMINAL[to] then redis.pcall('ZADD', K.ENDED .. to, now, id) end
end

-- `fields`: an object of RQ job hash fields. A job hash that somebody deleted is not made anew here: half a hash breaks
-- RQ's readers; the audit names it.
local function job_fields(id, fields)
  if redis.call('TYPE', K.RQ_JOB .. id).ok ~= 'hash' then return end
  write_fields(K.RQ_JOB .. id, fields)
end

-- Adds a row to RQ's result stream; an empty one is none.
local function rq_result(id, row)
  if not next(row) or not typed(K.RQ_RESULTS .. id, 'stream') then return end
  local pairs_ = {}
  for field, value in pairs(row) do
    pairs_[#pairs_ + 1] = field
    pairs_[#pairs_ + 1] = value
  end
  redis.call('XADD', K.RQ_RESULTS .. id, 'MAXLEN', 10, '*', unpack(pairs_))
  -- Redis reserves 4 KiB for the next rows of a stream, and this one gets no more; loaded anew it takes what it needs.
  local whole = redis.pcall('DUMP', K.RQ_RESULTS .. id)
  if type(whole) == 'string' then redis.pcall('RESTORE', K.RQ_RESULTS .. id, 0, whole, 'REPLACE') end
end

-- Merges `patch` into the record of attempt `n`, with times as in `timed`.
local function patch_attempt(id, n, patch, now)
  local raw = redis.call('HGET', K.ATTEMPTS .. id, n)
  local record = raw and decoded(raw) or {n = tonumber(n)}
  for field, value in pairs(patch) do record[field] = timed(value, now) end
  redis.call('HSET', K.ATTEMPTS .. id, n, cjson.encode(record))
end

-- Which of these tasks have yet to end; or nil and an answer about one that is not there, or that ended without success.
local function awaited(ids)
  local open = {}
  for _, other in ipairs(ids) do
    local wrong = misfit({{K.TASK .. other, 'hash'}, {K.FOLLOWERS .. other, 'list'}})
    if wrong then return nil, wrong end
    local state = redis.call('HGET', K.TASK .. other, 'state')
    if not state then return nil, {'unknown', other, ''} end
    if TERMINAL[state] and not SUCCESS[state] then return nil, {'ended', other, state} end
    if not SUCCESS[state] then open[#open + 1] = other end
  end
  return open
end

local function wait_for(id, open)
  redis.call('HSET', K.TASK .. id, 'after_open', cjson.encode(open))
  for _, other in ipairs(open) do redis.call('RPUSH', K.FOLLOWERS .. other, id) end
end

-- Tells one follower that `id` ended in success; false where its rows or its queue are damaged. The last it waited for
-- releases it. Whoever calls has seen that the due are a zset.
local function tell(follower, id, state, now, wall, who)
  if unfit(follower) then return false end
  local row = redis.call('HMGET', K.TASK .. follower, 'state', 'after_open', 'queue', 'not_before', 'attempt')
  if row[1] ~= FOLLOWER.waits or not row[2] then return true end
  local left, named = {}, false
  for _, other in ipairs(decoded(row[2]) or {}) do
    if other == id then named = true else left[#left + 1] = other end
  end
  if not named then return true end
  if no_room_in(row[3]) then return false end
  local reason, due = 'task ' .. id .. ' is ' .. state, tonumber(row[4])
  if #left == 0 then
    redis.call('HDEL', K.TASK .. follower, 'after_open')
  else
    redis.call('HSET', K.TASK .. follower, 'after_open', cjson.encode(left))
  end
  if #left > 0 or (due and due > now) then
    crumb(follower, now, row[1], 'met', FOLLOWER.waits, reason, tonumber(row[5]), '', who)
    if #left == 0 then
      redis.call('ZADD', K.DUE, due, follower)
      enter_view(follower, row[3], RQ_STATUS[FOLLOWER.waits], '', due)
    end
    return true
  end
  redis.call('HDEL', K.TASK .. follower, 'not_before')
  redis.call('HSET', K.TASK .. follower, 'state', FOLLOWER.released)
  count_as(follower, row[3], FOLLOWER.released)
  crumb(follower, now, row[1], 'release', FOLLOWER.released, reason, tonumber(row[5]), '', who)
  leave_view(follower, row[3], RQ_STATUS[row[1]], '')
  enter_view(follower, row[3], RQ_STATUS[FOLLOWER.released], '')
  job_fields(follower, {status = RQ_STATUS[FOLLOWER.released], enqueued_at = wall})
  return true
end

-- Tells the followers of a task that ended in success, at most `limit` of them; true once there are no more. Those
-- whose rows are damaged go to the end of the list.
local function tell_followers(id, state, now, wall, who, limit)
  local list = K.FOLLOWERS .. id
  for _ = 1, math.min(limit, redis.call('LLEN', list)) do
    local follower = redis.call('LPOP', list)
    if not tell(follower, id, state, now, wall, who) then redis.call('RPUSH', list, follower) end
  end
  return redis.call('EXISTS', list) == 0
end

local function owner_deadline(owner)
  local score = redis.call('ZSCORE', K.OWNERS, owner)
  return score and tonumber(score) or nil
end
