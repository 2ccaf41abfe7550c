/*
 * runconfig.h - what a run is: pc-run(5), a JSON object, and its defaults.
 */
#ifndef RUNCONFIG_H
#define RUNCONFIG_H

#include "fields.h"

struct runconfig_channel {
	struct texts argv;	/* a program's words go after these */
	struct texts env;	/* of the channel's program, on the host */
	bool stream;		/* input and output pass while it runs */
	bool text;		/* only UTF-8 passes */
	uint64_t output_max;	/* bytes of one exec's output; 0: any */
	char *transport, *provider, *sandbox_id;	/* identity; or NULL */
};

struct runconfig_workspace {
	char *local, *remote;	/* local NULL: nothing is carried */
	struct texts exclude, preserve;
	char *conflict;
};

struct runconfig_asset {
	char *key, *local;
	bool follow_links;
	struct texts exclude;
};

struct runconfig_api {
	char *url;		/* NULL: no gateway */
	char *token_file, *run_id, *rules, *ca_file;
};

struct runconfig_tools {
	char *local;		/* the static file; NULL: beside pc-run */
	char *remote;		/* where it is in the sandbox */
	struct texts copy;	/* a command of the host's; or none */
};

struct runconfig_command {
	struct words command;
	char *detect;		/* install: needless when on PATH */
	int64_t timeout_ms;
};

struct runconfig_agent {
	struct texts env;
	char *cwd;
	struct span input;
	int64_t timeout_ms;
};

struct runconfig_limits {
	uint64_t body;
	int64_t depth, in_flight;
};

/* What pc-lease is asked for; environment NULL: nothing. */
struct runconfig_lease {
	char *environment;	/* "": the company's default */
	char *company, *issue, *store, *workspace;
	struct texts levels;	/* "issue=box", ...: which one each level names */
	int64_t wait_ms;	/* -1: not at all; 0: for ever */
};

struct runconfig {
	struct runconfig_channel channel;
	struct runconfig_workspace workspace;
	struct objects assets;		/* struct runconfig_asset */
	struct runconfig_api api;
	struct runconfig_tools tools;
	struct runconfig_command install, provision;
	struct runconfig_agent agent;
	struct runconfig_lease lease;
	struct runconfig_limits limits;
	int64_t exec_ms, call_ms;	/* deadlines of an exec, an API call */
	char *adapter;			/* the runtime root's last component */
	char *state;			/* the host's folder; NULL: the usual */
	struct fields_memory memory;	/* private */
};

/*
 * The defaults, and then what text says; the remote workspace stays NULL when
 * it says nothing of it.  0, or -1 with f: free it anyway.
 */
int runconfig_read(struct runconfig *c, struct span text, struct fault *f);

/*
 * After options and a lease had their say: the defaults of what is left, and
 * whether it can be.  0, or -1 with f.
 */
int runconfig_settle(struct runconfig *c, struct fault *f);
void runconfig_free(struct runconfig *c);

/* One line of JSON: what must be the same for a session to be taken up. */
void runconfig_put_identity(struct buf *out, const struct runconfig *c);

/*
 * The first key of a saved identity that differs, or NULL: static text.  0,
 * or -1 with f when it is no identity.
 */
int runconfig_compare(const struct runconfig *c, struct span saved,
    const char **key, struct fault *f);

/* Safe in a line that some channels give to a shell. */
bool runconfig_is_plain(const char *text);

#endif
