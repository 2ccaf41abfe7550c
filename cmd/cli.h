/*
 * cli.h - what every tool says and takes alike (interface: exit statuses,
 * messages, options).  The only code besides main() that prints or exits.
 */
#ifndef CLI_H
#define CLI_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "fault.h"
#include "record.h"

enum {
	EXIT_YES = 0,		/* done */
	EXIT_NO = 1,		/* the tool's own no */
	EXIT_UNKNOWN = 2,	/* outcome unknown: do not repeat blindly */
	EXIT_NEVER = 100,	/* will fail again: usage, input, settings */
	EXIT_LATER = 111	/* may succeed later: system, peer, time-out */
};

/* First call of main: descriptors 0 to 2 open, SIGPIPE ignored, the name. */
void cli_start(const char *tool);

/*
 * `tool: object: reason` on stderr, one line, foreign bytes escaped; object
 * may be NULL.  cli_fail exits with status.
 */
void cli_warn(const char *object, const char *reason);
/* Appends s as such a line has it. */
void cli_put_escaped(struct buf *out, const char *s);
/* `name` or `name: text`, escaped likewise: what -v says on stderr. */
void cli_name(const char *name, const char *text);

_Noreturn void cli_fail(int status, const char *object, const char *reason);

/* For want of memory. */
_Noreturn void cli_fail_memory(int status);

/* The same with strerror(errno); 111, except 100 for what stays wrong. */
_Noreturn void cli_fail_errno(const char *object);

/* The same of a file to read: 100, except 111 for what may go better later. */
_Noreturn void cli_fail_input(const char *file);

/* The same of what stopped a long operation. */
_Noreturn void cli_fail_fault(struct fault *f);

/*
 * What -h prints is the synopsis and a line an option; a wrong command line
 * gets one line and status 100.
 */
_Noreturn void cli_help(const char *text);
_Noreturn void cli_version(void);
_Noreturn void cli_usage(const char *reason);

/* What getopt_long refused, '?' or ':' (a letter list begins with that). */
struct option;
_Noreturn void cli_bad_option(int found, char *const argv[],
    const struct option *options);

/* One of options, by its val, that a command of the tool does not take. */
_Noreturn void cli_foreign_option(int option, const struct option *options,
    const char *command);

/* Option arguments, or exit 100 naming the option. */
int64_t cli_duration(const char *option, const char *arg);	/* ms */
uint64_t cli_size(const char *option, const char *arg);		/* bytes */
uint64_t cli_number(const char *option, const char *arg, uint64_t max);
uint64_t cli_count(const char *option, const char *arg, uint64_t max); /* > 0 */

/* -m: the limit of a body, at most 256M, or exit 100. */
size_t cli_body_max(const char *arg);

/* -t of a request, in ms: at most 10m, which 0 stands for, or exit 100. */
int64_t cli_request_timeout(const char *arg);

/* What is the same in every tool of the queue, from PAPERCLIP_BRIDGE_... */
size_t cli_env_body_max(void);		/* MAX_BODY_BYTES */
int64_t cli_env_poll_ms(void);		/* POLL_INTERVAL_MS */
bool cli_env_claims(void);		/* CLAIMS */

/* -q, else $PAPERCLIP_BRIDGE_QUEUE_DIR, else exit 100. */
const char *cli_queue_dir(const char *option);

/* A number of 1 or more from the environment, else fallback (protocol 4). */
uint64_t cli_env_number(const char *name, uint64_t fallback, uint64_t max);

/*
 * TERM and INT are blocked from here on and set cli_stop to their number
 * when unblocked (for ppoll and epoll_pwait) lets them through.
 */
extern volatile sig_atomic_t cli_stop;
void cli_catch_stop(sigset_t *unblocked);

/* An operand that must be a request id, or exit 100. */
const char *cli_id(const char *arg);

/* 'name: value', checked and lower-cased (in arg itself), or exit 100. */
void cli_add_header(struct record *r, char *arg);

/*
 * Makes the folders of path that are missing, path itself too, with mode.
 * path is changed meanwhile.  0, or -1 with errno.
 */
int cli_make_folders(char *path, mode_t mode);

/* All of it to stdout, or exit 111 (the reader has gone, the disk is full). */
void cli_out(struct span data);

/* The same, and exit 111 when the buffer is not whole. */
void cli_out_buf(const struct buf *data);

#endif
