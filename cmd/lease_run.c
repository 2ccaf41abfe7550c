/*
 * pc-lease run: a lease around a command.
 *
 * The command never runs on without the lease for longer than its deadline:
 * it is ended when the lease is lost, when it could not be renewed until
 * shortly before the deadline, and when this process is killed.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "clock.h"
#include "id.h"
#include "lease_clean.h"
#include "lease_report.h"
#include "leasecmd.h"
#include "offspring.h"

#define GRACE_MS	2000	/* between TERM and KILL */
#define RETRY_MS	1000	/* to the next try to renew, when one failed */
#define ANSWER_MIN_MS	250	/* for the store, while the command runs */

struct running {
	struct lease_session *x;
	const struct lease_args *a;
	struct lease_grant g;
	struct child child;
	struct lease_report report;
	pid_t parent;
	int64_t heartbeat, grace;
	int64_t good_until;		/* clock_mono_ms: ours until then */
	bool warned;
	const char *lost;		/* why; or NULL */
	char why[256];
};

static volatile sig_atomic_t stopped;

static void
note_stop(int signo)
{
	stopped = signo;
}

/* Until there is a command to pass them on to. */
static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = note_stop };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

static int64_t
smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* --- the command ------------------------------------------------------------ */

static _Noreturn void
become(void *arg)
{
	const struct running *r = arg;
	const struct lease *l = &r->g.lease;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != r->parent)
		_exit(EXIT_LATER);
	if (setenv("PC_LEASE_ID", l->id, 1) == -1 ||
	    setenv("PC_LEASE_EPOCH", store_digits(l->token).text, 1) == -1 ||
	    setenv("PC_LEASE_RUN", l->run, 1) == -1 ||
	    setenv("PC_LEASE_ENVIRONMENT", r->g.environment.name, 1) == -1 ||
	    lease_report_give(&r->report) == -1)
		cli_fail_errno("environment");
	(void)signal(SIGPIPE, SIG_DFL);
	execvp(r->a->command[0], r->a->command);
	cli_fail(errno == ENOENT ? 127 : 126, r->a->command[0],
	    strerror(errno));
}

/* --- the lease -------------------------------------------------------------- */

static void
lose(struct running *r, const char *why)
{
	(void)snprintf(r->why, sizeof(r->why), "%s", why);
	r->lost = r->why;
}

/* When to look again; metadata, unless NULL, is merged. */
static int64_t
renew(struct running *r, const char *metadata)
{
	struct fields_memory m = { .first = NULL };
	struct problem p = { .kind = PROBLEM_NONE };
	int64_t began = clock_mono_ms(), next;
	struct lease l;

	/* A few answers that do not come must not take us past the deadline. */
	store_set_wait(r->x->s, smaller(r->x->store_wait,
	    greater((r->good_until - r->grace - began) / 4, ANSWER_MIN_MS)));
	if (lease_renew(r->x->s, &r->x->caller, r->g.lease.id,
	    r->g.lease.token, r->g.expiry_ms, metadata, &l, &m, &p) == 0) {
		r->good_until = began + r->g.expiry_ms;
		r->warned = false;
		next = began + r->heartbeat;
	} else {
		if (p.kind == PROBLEM_NO || p.kind == PROBLEM_INPUT)
			lose(r, problem_text(&p));
		else if (!r->warned)
			cli_warn("cannot renew, trying again",
			    problem_text(&p));
		r->warned = true;
		next = clock_mono_ms() + smaller(RETRY_MS, r->heartbeat);
	}
	problem_clear(&p);
	fields_free(&m);
	/* In time to end the command before another may have the lease. */
	if (r->lost == NULL &&
	    clock_mono_ms() >= r->good_until - r->grace)
		lose(r, "it could not be renewed in time");
	return smaller(next, r->good_until - r->grace);
}

/* TERM to all of it, and KILL. */
static void
end_command(struct running *r)
{
	struct buf told = { 0 };
	int64_t deadline = clock_mono_ms() + r->grace;
	bool ended;
	int status;	/* of no interest: it was not its own end */

	(void)offspring_signal(&told, r->child.pid, SIGTERM);
	kill(r->child.pid, SIGTERM);
	do
		ended = child_wait_until(&r->child, deadline, &status);
	while (!ended && clock_mono_ms() < deadline);
	if (!ended) {
		kill(r->child.pid, SIGKILL);
		(void)child_wait(&r->child);
	}
	buf_reset(&told, 0);
	(void)offspring_signal(&told, r->child.pid, SIGKILL);
	buf_free(&told);
}

/* What it has reported meanwhile; when to look again. */
static int64_t
take_report(struct running *r, int64_t next)
{
	const char *metadata;

	while (r->lost == NULL &&
	    (metadata = lease_report_metadata(&r->report)) != NULL)
		next = renew(r, metadata);
	return next;
}

/* What the command has left to us, and has ended. */
static void
reap_orphans(const struct running *r)
{
	siginfo_t end;

	for (;;) {
		end.si_pid = 0;
		if (waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) ==
		    -1 || end.si_pid == 0 || end.si_pid == r->child.pid)
			return;
		(void)waitpid(end.si_pid, NULL, WNOHANG);
	}
}

static int
attend(struct running *r)
{
	int64_t next = r->good_until - r->g.expiry_ms + r->heartbeat;
	bool ended = false;
	int status;

	while (r->lost == NULL && !ended) {
		ended = child_wait_until(&r->child, next, &status);
		reap_orphans(r);
		next = take_report(r, next);
		if (!ended && r->lost == NULL && clock_mono_ms() >= next)
			next = renew(r, NULL);
	}
	if (ended)
		return status;
	cli_warn("lease lost", r->lost);
	end_command(r);
	return EXIT_LATER;
}

static void
warn_each(void *arg, const struct lease *l, const struct problem *p)
{
	(void)arg;
	(void)l;
	if (p != NULL)
		cli_warn("release", problem_text(p));
}

/* All leases of the run; what fails in that does not change its status. */
static void
release(struct running *r, int status)
{
	struct lease_release how = { .clean = lease_clean, .each = warn_each,
	    .warn = lease_warn_unlogged };
	struct problem p = { .kind = PROBLEM_NONE };
	char reason[64] = "";
	struct buf *said = &r->report.failure;

	if (r->lost != NULL)
		(void)snprintf(reason, sizeof(reason), "lease lost");
	else if (status > 128)
		(void)snprintf(reason, sizeof(reason), "signal %d",
		    status - 128);
	else if (status != 0)
		(void)snprintf(reason, sizeof(reason), "exit code %d",
		    status);
	how.end = (struct lease_end){ .status = status == 0 ?
	    LEASE_RELEASED : LEASE_FAILED, .failure = reason };
	if (status != 0 && r->lost == NULL && said->len > 0) {
		buf_add_char(said, '\0');
		how.end.failure = buf_failed(said) ? reason : said->data;
	}
	store_set_wait(r->x->s, r->x->store_wait);
	if (lease_release_run(r->x->s, &r->x->caller, &how, &p) == -1)
		cli_warn("release", problem_text(&p));
	problem_clear(&p);
}

static int
run_command(struct running *r)
{
	int status;

	r->parent = getpid();
	offspring_adopt();
	if (child_fork(&r->child, become, r) == -1) {
		cli_warn("fork", strerror(errno));
		return EXIT_LATER;
	}
	/* One that came between: from here on they are passed on. */
	if (stopped != 0) {
		child_abandon(&r->child);
		return 128 + stopped;
	}
	lease_report_keep(&r->report);
	if (child_start(&r->child) == -1)
		cli_warn(r->a->command[0], strerror(errno));
	status = attend(r);
	child_reap(&r->child);
	return status;
}

static void
set_times(struct running *r)
{
	const struct lease_args *a = r->a;
	int64_t expiry = r->g.expiry_ms;

	r->grace = smaller(a->grace == -1 ? GRACE_MS : a->grace, expiry / 4);
	r->heartbeat = smaller(a->heartbeat == -1 ? LEASE_HEARTBEAT_MS :
	    a->heartbeat, expiry / 4);
	r->heartbeat = greater(r->heartbeat, LEASE_HEARTBEAT_MIN_MS);
	r->good_until = r->g.since + expiry;
}

int
lease_do_run(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	const struct lease_want want = lease_want_of(a);
	struct running r = { .x = x, .a = a,
	    .report = { .fd = -1, .theirs = -1 } };
	struct fields_memory m = { .first = NULL };
	int64_t deadline = lease_deadline_of(a);
	char id[ID_NEW_SIZE];
	enum lease_result result;
	int status = -1;

	(void)out;
	if (a->command == NULL)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "run: -- COMMAND [ARG...]");
	if (*x->caller.run == '\0') {
		if (id_make(ID_PLAIN, id) == -1)
			return problem_set(p, PROBLEM_LATER, "system",
			    "no random numbers");
		x->caller.run = id;
	}
	catch_signals();
	result = lease_acquire_wait(x->s, &x->caller, &want, deadline,
	    &stopped, &r.g, &m, p);
	if (result == LEASE_TAKEN) {
		set_times(&r);
		if (a->report && lease_report_open(&r.report, &r.g, p) == -1)
			status = EXIT_LATER;
		else
			status = stopped != 0 ? 128 + stopped :
			    run_command(&r);
		release(&r, status);
		lease_report_close(&r.report);
		if (p->kind != PROBLEM_NONE)
			status = -1;
	} else if (stopped != 0) {
		status = 128 + stopped;
	} else if (result == LEASE_BUSY) {
		status = (int)a->busy_status;
		lease_say_problem(x->json, p);
	}
	fields_free(&m);
	return status;
}
