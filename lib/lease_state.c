#include <stddef.h>
#include <string.h>

#include "lease_state.h"

static const char *const statuses[] = {
	"active", "released", "expired", "failed", "retained",
	"pending_cleanup"
};

static const char *const policies[] = {
	"ephemeral", "reuse_by_environment", "reuse_by_execution_workspace",
	"retain_on_failure"
};

/* Its place in a list of n names; n if it is none of them. */
static size_t
place_of(const char *const *names, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n && strcmp(names[i], name) != 0; i++)
		continue;
	return i;
}

const char *
lease_status_name(enum lease_status status)
{
	return statuses[status];
}

enum lease_status
lease_status_of(const char *name)
{
	return (enum lease_status)place_of(statuses, LEASE_STATUS_NONE, name);
}

const char *
lease_policy_name(enum lease_policy policy)
{
	return policies[policy];
}

enum lease_policy
lease_policy_of(const char *name)
{
	return (enum lease_policy)place_of(policies, LEASE_POLICY_NONE, name);
}

bool
lease_policy_reuses(enum lease_policy policy)
{
	return policy == LEASE_BY_ENVIRONMENT || policy == LEASE_BY_WORKSPACE;
}

enum lease_status
lease_status_after(enum lease_policy policy, enum lease_status end,
    bool has_cleanup)
{
	if (policy == LEASE_RETAIN_ON_FAILURE && end == LEASE_FAILED)
		return LEASE_RETAINED;
	if (has_cleanup && (!lease_policy_reuses(policy) ||
	    end == LEASE_FAILED))
		return LEASE_PENDING_CLEANUP;
	return end;
}

bool
lease_status_is_held(enum lease_status status)
{
	return status == LEASE_ACTIVE || status == LEASE_RETAINED;
}
