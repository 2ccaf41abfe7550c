/* running.h - what the parts of a run share; run.h is its interface. */
#ifndef RUNNING_H
#define RUNNING_H

#include "command.h"
#include "run.h"

#define RUN_STATUS_NEVER	100
#define RUN_STATUS_LATER	111
#define RUN_OUTPUT_MAX		(4 << 20)	/* of an exec that is collected */

struct run {
	const struct run_options *o;
	const struct runconfig *c;
	struct run_end *end;
	struct tasks tasks;
	struct fields_memory memory;	/* strings below */
	const char *phase;
	char *remote;		/* the workspace in the sandbox */
	char *root;		/* the runtime root of this adapter there */
	char *tools;		/* our static file there */
	char *queue;
	bool queue_is_scratch;	/* on a tmpfs: it may not be shared by execs */
	bool ready;		/* our tools are there */
	bool agent_left;	/* its end was not seen: it may go on */
	bool finishing;		/* what was begun is being ended */
	int stops_before;	/* signals, when that began */
	struct bridge *bridge;	/* NULL: no API, or not yet */
	uint64_t requests, bytes;
	unsigned execs;		/* how often the channel was used */
	int64_t show_at;
};

/* Formatted text that lives as long as the run; NULL and a failure noted. */
__attribute__((format(printf, 2, 3)))
char *run_text(struct run *r, const char *format, ...);

/*
 * What is made between the two is given back: for what a long run does again
 * and again.
 */
struct fields_memory run_scratch(struct run *r);
void run_give_back(struct run *r, struct fields_memory before);

/* A string of JSON; null for what is not UTF-8. */
const char *run_quoted(struct run *r, const char *text);

/* Notes a failure, unless there was one.  Always -1. */
__attribute__((format(printf, 3, 4)))
int run_fail(struct run *r, int status, const char *format, ...);
int run_fail_errno(struct run *r, const char *what);

/* The same of a fault, which goes with it. */
int run_fail_fault(struct run *r, const char *what, struct fault *f);

void run_event(struct run *r, const char *step, const char *what,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Shows how far the run is, if that is due; when it is next (-1: never). */
int64_t run_show(struct run *r, bool now);

/* Whether a signal says to stop what is being done. */
bool run_is_cancelled(struct run *r);

/* --- execs ------------------------------------------------------------------ */

/* A list of words that grows; freed with the run. */
struct wordlist {
	char **v;
	size_t n, cap;
	bool failed;		/* one is missing, which is noted */
};

/* A word that is NULL, as run_text gives it, is missing: nothing is run. */
void words_add(struct run *r, struct wordlist *w, const char *word);
void words_add_all(struct run *r, struct wordlist *w, const struct texts *t);
/* option before each of t. */
void words_add_each(struct run *r, struct wordlist *w, const char *option,
    const struct texts *t);

/* The request line of a program in the sandbox, from its words. */
int run_put_request(struct run *r, struct buf *out, const struct wordlist *w);

/* A line of --dry-run: the words, and the request that input begins with. */
void run_print_dry(struct run *r, const struct wordlist *w, struct span input);

/* The words of our pc-exec there, to which options are added. */
void run_exec_words(struct run *r, struct wordlist *w);

/*
 * Appends the request for the agent, which has an id for --output and --kill.
 * 0, or -1 with a failure noted.
 */
#define RUN_AGENT_ID "agent"
int run_put_agent(struct run *r, struct buf *out);

/* What an exec runs, a fixed line: all else is in what it reads. */
enum exec_kind {
	EXEC_BECOME,		/* a request, and the program's input */
	EXEC_COMMAND,		/* a request; reports, and ends with its stdin */
	EXEC_DETACH,		/* a request; returns */
	EXEC_SHELL		/* a script: where our file is not there yet */
};

/*
 * Starts an exec through the channel.  Without a pipe for its input (in -1),
 * what it reads first is in t->to already.  0, or -1 with a failure noted; in
 * and out are closed here either way, as by task_start.
 */
int run_start_exec(struct run *r, struct task *t, enum exec_kind kind, int in,
    int out);

/* A program on the host, likewise; only pc-forward needs the token. */
int run_start_local(struct run *r, struct task *t, const struct wordlist *w,
    int in, int out, bool token);

struct exec {
	const char *action;		/* for messages */
	enum exec_kind kind;
	struct span input;		/* all it reads; the request first */
	struct buf *out;		/* collected; NULL: dropped */
	int64_t timeout_ms;		/* 0: the configuration's */
	bool tried;			/* a failure is only returned */
	struct span tail;		/* of stderr; the struct's own memory */
	char tail_text[TASK_TAIL];
};

/*
 * One exec to its end: its exit status, or -1 with a failure noted: timed
 * out, cancelled, could not be started; or failed, unless e->tried.
 */
int run_exec(struct run *r, struct exec *e);

/* The same with a request made of words. */
int run_words(struct run *r, struct exec *e, const struct wordlist *w);

/* A program of the host's to its end, likewise. */
int run_local(struct run *r, const char *action, const struct wordlist *w,
    struct buf *out);

/*
 * Until all of the tasks have ended: 0, or -1 with a failure noted (then they
 * are killed).
 */
int run_wait(struct run *r, const char *action, struct task *const tasks[],
    size_t n, int64_t timeout_ms);

/*
 * After an attempt (the first is 0) that ended so: whether the channel or its
 * machine may be better now; waits a while first.
 */
bool run_may_try_again(struct run *r, int status, int attempt);

/* `<action> failed with exit code N: <last lines of its stderr>`. */
int run_fail_exec(struct run *r, const char *action, int status,
    struct span tail);

/* The last lines, joined; at most max bytes.  In memory of the run. */
char *run_last_lines(struct run *r, struct span text, size_t lines,
    size_t max);

/* --- lines of pc-exec ------------------------------------------------------- */

/* What a line of its output says; it keeps its own copies. */
struct said {
	struct span out, err;	/* a piece of output, or neither */
	int64_t pid;		/* it has begun; -1: this line does not say */
	char *started;
	bool ended;		/* it has, and what follows holds */
	int64_t status, signal;
	bool timed_out, skipped;
	char *error;
	int64_t lost;
	int64_t next;		/* of --output; -1: this line does not say */
	bool running;
	struct fields_memory memory;	/* private */
	struct buf out_bytes, err_bytes;	/* private: of out, of err */
};

/* 0, or -1: not such a line.  Free it either way. */
int said_parse(struct said *s, struct span line);
void said_free(struct said *s);

/* The end of some text: what is said of it later. */
struct tail {
	char text[TASK_TAIL];
	size_t len;
};

void tail_add(struct tail *t, struct span text);

/*
 * Runs a command by pc-exec to its end, and keeps the end of what it says.  0
 * with *said, or -1 with a failure noted.
 */
int run_remote(struct run *r, const char *action, const struct command *c,
    struct said *said, struct tail *out, struct tail *err);

/* --- phases: 0, or -1 with a failure noted ---------------------------------- */

int run_bootstrap(struct run *r);
int run_sync_in(struct run *r);
int run_sync_back(struct run *r);

/* Whether a run before this one did not bring its changes back. */
bool run_sync_is_due(struct run *r);
int run_install(struct run *r);
int run_provision(struct run *r);

/* The agent to its end: r->end has its status. */
int run_command(struct run *r);
int run_clean(struct run *r);

#endif
