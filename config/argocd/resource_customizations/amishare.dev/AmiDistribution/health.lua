-- The health of an AmiDistribution in Argo CD. How to install it, and why each state is what it is: docs/gitops.md.
-- It needs none of the libraries that Argo CD withholds from health checks (string, math, ...).

local health = {}
local generation = obj.metadata.generation
local status = obj.status or {}

-- What was said of an older spec says nothing of this one: only what speaks of this generation counts.
local said, older = {}, false
for _, condition in ipairs(status.conditions or {}) do
  if condition.observedGeneration == generation then
    said[condition.type] = condition
  else
    older = true
  end
end
local ready, stalled, reconciling = said.Ready, said.Stalled, said.Reconciling

local function because(condition)
  return condition.reason .. ": " .. condition.message
end

-- Older versions of Argo CD answer "Progressing" for whatever is being deleted, and do not ask.
if obj.metadata.deletionTimestamp ~= nil then
  health.status = "Progressing"
  health.message = "Pending deletion: what it gave and made is being taken back"
  if stalled ~= nil and stalled.reason == "DeletionBlocked" then
    health.status = "Degraded"
    health.message = because(stalled)
  elseif reconciling ~= nil and reconciling.reason == "DeletionBlocked" then
    health.message = because(reconciling)
  end
  return health
end

if ready == nil or ready.status == "True" and (older or status.observedGeneration ~= generation) then
  health.status = "Progressing"
  health.message = "Waiting for the operator to look at it"
  if older then
    health.message = "Waiting for the operator to act on the last change of the spec"
  end
  return health
end

if ready.status == "True" then
  health.status = "Healthy"
  health.message = ready.message
  return health
end

health.message = because(ready)
if ready.reason == "Suspended" then
  -- Not in force, because the spec says so: that is no fault to mend, so it is not Degraded.
  health.status = "Suspended"
  health.message = ready.message
elseif stalled ~= nil then
  health.status = "Degraded"
else
  health.status = "Progressing"
end
return health
