-- What is kept of a task that ended in success: one row that Redis packs tight, and of RQ's job what RQ's people read.
-- Redis packs a hash only while none of its values is longer than 64 bytes (hash-max-listpack-value), so what is longer
-- is joined to one text that stands in parts, as the fields '0', '1', ..., or in '0' alone where the row has a long
-- value all the same:
--   names and lengths ("crumbs 213,attempts 68;"), then the texts in that order: crumbs [[ms since the one before,
--   event, to, {s, r, n, f, w, e}], ...], the last member only with what is not as it was or not empty (source, reason,
--   attempt, fence, who, evidence); attempts [record, ...] without what the breadcrumbs say; inputs and verdict as they
--   were, where they are long.
-- `rids` and `rids2`: the last requests that were carried out, for who sends one again. workers/packed.py reads it. A
-- reader that does not know of it finds the state and the claim, and {} for long inputs.
local LONGEST, PARTS = 64, 48

-- The breadcrumbs as they are packed, the lease and the start of each attempt, the requests behind the last ones, and the
-- first event; nil where one cannot be read. `added`: those of this step, which are not written by themselves.
local function packed_crumbs(id, added)
  local all, packed, leased, started, rids = {}, {}, {}, {}, {}
  for i, raw in ipairs(redis.call('LRANGE', K.CRUMBS .. id, 0, -1)) do
    all[i] = decoded(raw)
    local one = all[i]
    if not one or #one ~= 10 or type(one[1]) ~= 'number' or type(one[6]) ~= 'number' then return nil end
  end
  for _, one in ipairs(added) do all[#all + 1] = one end
  local at, to, n, fence, who = 0, cjson.null, 0, '', ''
  for i, one in ipairs(all) do
    packed[i] = {one[1] - at, one[3], one[4]}
    -- Of most there is nothing more to say, and a table costs.
    local same = one[2] == to and one[6] == n and one[7] == fence and one[8] == who
    if not same or one[5] ~= '' or one[10] ~= '' then
      local more = {
        s = one[2] ~= to and one[2] or nil, r = one[5] ~= '' and one[5] or nil, n = one[6] ~= n and one[6] or nil,
        f = one[7] ~= fence and one[7] or nil, w = one[8] ~= who and one[8] or nil, e = one[10] ~= '' and one[10] or nil}
      packed[i][4] = next(more) and more or nil
    end
    at, to, n, fence, who = one[1], one[4], one[6], one[7], one[8]
    if one[3] == 'lease' then leased[n] = one elseif one[3] == 'start' then started[n] = one end
    if i > 1 and i > #all - 12 and one[9] ~= rids[#rids] then rids[#rids + 1] = one[9] end
  end
  return cjson.encode(packed), leased, started, rids, all[1][3]
end

-- The records of attempts without what tells processes apart, and what the lease, the start and the row say as well; nil
-- where one cannot be read. `patch`: what this step changes in that of attempt `last`, if anything.
local function packed_attempts(id, last, patch, leased, started, ended_at)
  local flat, packed, records = redis.call('HGETALL', K.ATTEMPTS .. id), {}, {}
  for i = 1, #flat, 2 do records[flat[i]] = decoded(flat[i + 1]) or false end
  if patch then records[last] = patched(records[last], last, patch) end
  for _, record in pairs(records) do
    if not record or type(record.n) ~= 'number' then return nil end
    local lease, start = leased[record.n], started[record.n]
    record.start_ticks, record.stamp_ns = nil, nil
    if lease and record.leased_at == lease[1] then record.leased_at = nil end
    if lease and record.worker == lease[8] then record.worker = nil end
    if lease and record.fence == lease[7] then record.fence = nil end
    if start and record.started_at == start[1] then record.started_at = nil end
    if record.n == tonumber(last) and record.ended_at == ended_at then record.ended_at = nil end
    packed[#packed + 1] = record
  end
  return packed[1] and cjson.encode(packed) or '[]'
end

-- The fields of a row as they are written: in parts as long as Redis packs so many.
local function packed_row(row, texts, rids)
  local head, body, flat, count, part_bytes = {}, {}, {}, 0, LONGEST
  for _, one in ipairs(texts) do
    head[#head + 1] = one[1] .. ' ' .. #one[2]
    body[#body + 1] = one[2]
  end
  local whole = table.concat(head, ',') .. ';' .. table.concat(body)
  for i, field in ipairs({'rids', 'rids2'}) do
    if rids[i * 7 - 6] then row[field] = table.concat(rids, ' ', i * 7 - 6, math.min(i * 7, #rids)) end
  end
  for field, value in pairs(row) do
    flat[count + 1], flat[count + 2] = field, value
    count = count + 2
    if #value > LONGEST then part_bytes = #whole end
  end
  if #whole > LONGEST * PARTS then part_bytes = #whole end
  for part = 0, math.floor((#whole - 1) / part_bytes) do
    flat[count + 1] = part < 10 and string.char(48 + part) or whole_number(part)
    flat[count + 2] = string.sub(whole, part * part_bytes + 1, (part + 1) * part_bytes)
    count = count + 2
  end
  return flat
end

-- RQ's job as it ends (`fields`), without what is empty, and without its arguments, which are the task's inputs. One that
-- somebody else made stays as it is.
local function keep_job(id, fields)
  local key = K.RQ_JOB .. id
  local flat, kept = redis.pcall('HGETALL', key), flat_fields(fields)
  if flat.err or #flat == 0 then return end
  local count = #kept
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    if field == 'data' and #value > LONGEST then value = '["proofq.run",null,[],{}]' end
    if value ~= '' and field ~= 'last_heartbeat' and not fields[field] then
      kept[count + 1], kept[count + 2] = field, value
      count = count + 2
    end
  end
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(kept))
end

-- The fields of a task's row once it is packed, and how it came to be; nil where a breadcrumb or a record of an attempt is
-- none of ours. `row`: its fields before this plan; `crumbs`: the breadcrumbs of this step.
local function packed(id, row, plan, crumbs)
  local last = row.attempt
  for field, value in pairs(plan.set) do row[field] = value end
  for _, field in ipairs(plan.drop) do row[field] = nil end
  local said, leased, started, rids, first = packed_crumbs(id, crumbs)
  if not said then return nil end
  local attempts = packed_attempts(id, last, plan.attempt, leased, started, tonumber(row.ended_at))
  if not attempts then return nil end
  local texts = {{'crumbs', said}, {'attempts', attempts}}
  for field, left in pairs({inputs = '{}', verdict = false}) do
    if row[field] and #row[field] > LONGEST then
      texts[#texts + 1] = {field, row[field]}
      row[field] = left or nil
    end
  end
  -- Nobody compares with how the world was before: a task that ended in success never runs again.
  row.baseline = nil
  return packed_row(row, texts, rids), first
end

-- Writes the rows of a task that ends in success by this plan, packed, and its job, and says so. Nothing of them is written
-- by itself first: what is packed at once need not be read and deleted again. Whoever calls has checked the types of the
-- task's rows; what stands in them somebody may have broken, which must not keep a task from its end: then nothing is
-- written here, and they are written as those of other moves.
local function keep(id, row, plan, crumbs)
  local fine, flat, first = pcall(packed, id, row, plan, crumbs)
  if not fine or not flat then return false end
  redis.call('DEL', K.TASK .. id, K.CRUMBS .. id, K.ATTEMPTS .. id)
  redis.call('HSET', K.TASK .. id, unpack(flat))
  if first == 'enqueue' then keep_job(id, plan.job or {}) else job_fields(id, plan.job or {}) end
  return true
end
