/*
 * lease_state.h - the states of a lease, its policies, and what follows what.
 * Nothing here touches a store.
 *
 *	(none), released, expired --acquire--> active --renew--> active
 *	active --release--> released | expired | failed | retained
 *	active --not renewed, sweep--> expired
 *	any of these ends --clean-up due--> pending_cleanup --done--> that end
 */
#ifndef LEASE_STATE_H
#define LEASE_STATE_H

#include <stdbool.h>

enum lease_status {
	LEASE_ACTIVE, LEASE_RELEASED, LEASE_EXPIRED, LEASE_FAILED,
	LEASE_RETAINED,		/* failed, and kept to be looked at */
	LEASE_PENDING_CLEANUP,	/* until the clean-up command has succeeded */
	LEASE_STATUS_NONE	/* no name of one */
};

enum lease_policy {
	LEASE_EPHEMERAL,	/* a lease for each who asks */
	LEASE_BY_ENVIRONMENT,	/* one at a time, used again */
	LEASE_BY_WORKSPACE,	/* the same, for each execution workspace */
	LEASE_RETAIN_ON_FAILURE,	/* as ephemeral, but kept when failed */
	LEASE_POLICY_NONE
};

const char *lease_status_name(enum lease_status status);
enum lease_status lease_status_of(const char *name);
const char *lease_policy_name(enum lease_policy policy);
enum lease_policy lease_policy_of(const char *name);

/* Whether leases of it exclude others, and are used again. */
bool lease_policy_reuses(enum lease_policy policy);

/*
 * What an active lease becomes that ends as released, expired or failed; a
 * clean-up is due when the result is LEASE_PENDING_CLEANUP.  What is used
 * again is not cleaned up, unless it failed: the next one gets another.
 */
enum lease_status lease_status_after(enum lease_policy policy,
    enum lease_status end, bool has_cleanup);

/* Whether it may be released: active, or retained. */
bool lease_status_is_held(enum lease_status status);

#endif
