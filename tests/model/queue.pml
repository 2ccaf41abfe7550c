/*
 * queue.pml - the life of one request in the queue, for spin.
 *
 * One proctype per role, one inline per function of lib/ and of the same
 * name.  Each look (stat, open, readdir) and each rename, link and unlink is
 * a step of its own; between any two of them any other process may go on, die
 * (killer) or time may pass (clock).  run.sh says which roles take part, and
 * checks every order of all their steps.
 *
 * What holds (look for assert):
 *
 *	at most once	an unsafe request is sent to the API at most once
 *	outcome		"not-started" is said only of what was not sent, and
 *			never will be
 *	wrote		who reports that it wrote the answer did: it is there,
 *			or its requester has read it
 *	lost answer	a requester that lives gets the answer of which a
 *			responder reported that; and nobody who has an answer
 *			finds "no such request" while there is one
 *	orphan		when all is over nothing is left, even without a sweep,
 *			unless somebody died who had something to remove; and
 *			a sweep removes that
 *
 * Beside these spin finds a process that waits for ever (invalid end state).
 *
 * Time: what the code decides by the clock is whether a request is past its
 * deadline (a drain leaves it alone), 2 s past it (the sweep removes it and
 * its claim), and whether responses and temporaries are old.  So now counts
 * these, and each may come at any moment.  One thing is assumed: nobody sleeps
 * for 35 s between two steps of publishing, or beside an answer that has come
 * (quiet).  Without it, -DPAUSE, an answer may be swept before it is read.
 *
 * Left out: what is in the files, errors of the system (tests/faults),
 * descriptors instead of names, waiting and being woken up.
 */

/* Processes; who publishes a response is known by it.  0: nobody. */
#define GATEWAY		1
#define DRAIN1		2
#define DRAIN2		3
#define RESPOND1	4
#define RESPOND2	5
#define HANDLER1	6
#define HANDLER2	7
#define SWEEP		8
#define FAIL		9
#define OLD_WORKER	10
#define N		11

/* now */
#define IN_TIME		0
#define LATE		1	/* past the deadline */
#define EXPIRED		2	/* and QUEUE_GRACE_MS more */
#define AGED		3	/* what was there before this is old */

/* What an answer says; a line between the tools is a bit of lines. */
#define NOTHING		0
#define ANSWERED	1	/* what the API said */
#define NOT_STARTED	2	/* OUTCOME_NOT_STARTED */
#define INDETERMINATE	3	/* OUTCOME_INDETERMINATE */
#define LINE(says)	(1 << (says))

/* enum queue_delivery */
mtype = { QUEUE_DELIVERED, QUEUE_TAKEN_BACK, QUEUE_ANSWERED, QUEUE_UNKNOWN,
    QUEUE_FAILED };

/* The queue directory: requests/ID, claimed/ID, responses/ID, *.tmp */
bool requests, claimed;
byte responses;			/* its writer; 0: there is none */
byte responses_says;
bool responses_old;
bool tmp[N], tmp_old[N];
byte drain_lock_shared;		/* drain.lock */
bool drain_lock_alone;
byte claim_locked;		/* by flock(2), who answers it */

byte now = IN_TIME;

/* From the drains to the handler: a pipe each. */
#define EMPTY		0
#define UNTERMINATED	1	/* the whole line but for its end */
#define WHOLE		2
#define TAKEN		3
byte pipe[N];
bool pipe_ended[N];

byte lines;			/* from the handler to the responders */

/* What is asserted about. */
bool sent;			/* the API has had it */
byte told;			/* what the requester knows in the end */
byte got;			/* whose answer it has read */
byte wrote;			/* who reported that it wrote */
bool waiting;
int publishing;			/* who is at it, a bit each */
bool files_left;			/* somebody died who had files to remove */

#ifdef SAFE
#define is_safe		true
#else
#define is_safe		false
#endif
#if defined(PAUSE) && !defined(MUTANT_PAUSE)
#define timeless	true
#else
#define timeless	false
#endif
#ifdef CLAIMS
#define claims		true	/* pc-serve --claims, pc-enqueue --claims */
#else
#define claims		false
#endif

/* --- lib/queue.c ------------------------------------------------------------ */

/* One step, or the end of who would have made it: "died" is what is left. */
#ifdef DEATHS
#define OR_DIE	:: true -> goto died
#else
#define OR_DIE
#endif

/* ok: it was there. */
inline unlink_requests() {
	if
	:: d_step { ok = requests; requests = false }
	OR_DIE
	fi
}

inline unlink_claimed() {
	if
	:: d_step { ok = claimed; claimed = false }
	OR_DIE
	fi
}

inline unlink_responses() {
	if
	:: d_step { ok = (responses != 0); responses = 0;
	    responses_says = NOTHING; responses_old = false }
	OR_DIE
	fi
}

inline queue_has(entry) {
	if
	:: ok = (entry)
	OR_DIE
	fi
}

inline open_temporary(me) {
	if
	:: d_step { tmp[me] = true; publishing = publishing | (1 << (me)) }
	OR_DIE
	fi
}

inline unlink_temporary(me) {
	if
	:: d_step { tmp[me] = false; tmp_old[me] = false }
	OR_DIE
	fi
}

/* rename_noreplace(), or with no_rename_flags linkat() and unlinkat(). */
inline publish_request(me) {
	open_temporary(me);
	if
	:: d_step {
		ok = tmp[me];
		if :: ok -> requests = true; waiting = true;
#ifdef OPERATOR
		    lines = LINE(INDETERMINATE)
#endif
		:: else fi;
#ifndef NO_RENAME_FLAGS
		tmp[me] = false; tmp_old[me] = false
#endif
	}
	OR_DIE
	fi;
#ifdef NO_RENAME_FLAGS
#ifdef MUTANT_PUBLISH_NAME
	ok = ok && tmp[me];
#endif
	unlink_temporary(me);
#endif
	d_step { publishing = publishing & ~(1 << me) }
}

/* ok, or it exists: then the temporary goes. */
inline publish_response(me, says) {
	open_temporary(me);
	if
	:: d_step {
#ifdef MUTANT_REPLACE
		ok = tmp[me];
#else
		ok = tmp[me] && responses == 0;
#endif
		if
		:: ok -> responses = me; responses_says = says;
		    responses_old = tmp_old[me];
#ifndef NO_RENAME_FLAGS
		    tmp[me] = false; tmp_old[me] = false
#endif
		:: else
		fi
	}
	OR_DIE
	fi;
#ifdef NO_RENAME_FLAGS
	unlink_temporary(me)
#else
	if
	:: ok
	:: else -> unlink_temporary(me)
	fi
#endif
}

inline queue_claim() {
#ifdef NO_RENAME_FLAGS
	queue_has(claimed);
	if
	:: ok -> ok = false
	:: else ->
		if
		:: d_step { ok = requests;
		    if :: ok -> requests = false; claimed = true :: else fi }
		OR_DIE
		fi
	fi
#else
	if
	:: d_step {
		ok = requests && !claimed;
		if :: ok -> requests = false; claimed = true :: else fi
	}
	OR_DIE
	fi
#endif
}

inline request_is_claimed() {
	queue_has(claimed);
	if
	:: ok
	:: else ->
		queue_has(requests);
		if
		:: ok -> queue_claim()
		:: else
		fi;
#ifndef MUTANT_LAST_LOOK
		if
		:: ok
		:: else -> queue_has(claimed)
		fi
#endif
	fi
}

/*
 * ok: it is ours to answer.  The kernel unlocks it for who dies.  The lock is
 * on the file: whether that still has a name is looked at under it.
 */
inline lock_claim(me) {
#ifndef MUTANT_UNLOCKED
	queue_has(claimed);			/* open */
	if
	:: ok ->
		d_step {			/* flock, LOCK_NB */
			ok = (claim_locked == 0);
			if :: ok -> claim_locked = me :: else fi
		};
		if
		:: ok -> queue_has(claimed)	/* fstat: st_nlink */
		:: else
		fi
	:: else
	fi
#else
	skip
#endif
}

/* The end of an answer, also by death. */
inline close_claim(me) {
	if :: claim_locked == me -> claim_locked = 0 :: else fi;
	publishing = publishing & ~(1 << (me))
}

/* What is reported is what was seen by the step before. */
inline report_delivered(me) {
	assert(timeless || responses == me || got == me);
	wrote = me
}

inline queue_respond(me, says) {
	request_is_claimed();
	if
	:: !ok ->
		/* Nobody may miss a request that is there. */
		assert(now >= EXPIRED || (!requests && !claimed))
	:: else -> lock_claim(me)
	fi;
	if
	:: ok ->
		publish_response(me, says);
		if
		:: ok ->
			/* The second look. */
			if
			:: d_step {
				ok = claimed; claimed = false;
				if
				:: ok -> report_delivered(me)
				:: else
				fi
			}
			OR_DIE
			fi;
#ifdef MUTANT_SECOND_LOOK
			d_step {
				if
				:: !ok -> report_delivered(me)
				:: else
				fi
			}
#else
			if
			:: ok
			:: else ->
				if
				:: d_step {
					if
					:: responses != 0 -> responses = 0;
					    responses_says = NOTHING;
					    responses_old = false
					:: else -> report_delivered(me)
					fi
				}
				OR_DIE
				fi
			fi
#endif
		:: else				/* QUEUE_ANSWERED */
		fi
	:: else
	fi;
	d_step { close_claim(me); ok = false }
}

/* ok: there was one; got and told say which. */
inline queue_collect() {
	if
	:: d_step {
		ok = (responses != 0);
		if
		:: ok -> got = responses; told = responses_says
		:: else
		fi
	}
	OR_DIE
	fi;
	if
	:: ok ->
#ifdef MUTANT_COLLECT_ORDER
		unlink_responses(); unlink_requests(); unlink_claimed();
#else
		unlink_requests(); unlink_claimed(); unlink_responses();
#endif
		ok = true
	:: else
	fi
}

/* ok: withdrawn. */
inline queue_give_up() {
	unlink_requests();
	if
	:: ok
	:: else -> unlink_claimed(); ok = false
	fi
}

/* --- lib/serving.c, lib/requester.c ----------------------------------------- */

inline tell(says) {
	d_step { told = says; waiting = false;
	    assert(is_safe || told != NOT_STARTED || !sent) }
}

/* Its client is told what is known; "died" ends in its successor's start. */
proctype gateway() {
	bool ok;

	publish_request(GATEWAY);
	if
	:: ok
	:: else -> tell(NOT_STARTED); goto out
	fi;
	/* Looks that find nothing change nothing. */
	if
	:: responses != 0 -> queue_collect()
	:: ok = false
	fi;
	if
	:: ok -> tell(told); goto out
	:: else
	fi;
	queue_give_up();
	if
	:: ok && claims -> tell(NOT_STARTED)
	:: ok && !claims -> tell(INDETERMINATE)
	:: else ->
#ifdef MUTANT_GIVE_UP
		tell(INDETERMINATE)
#else
		queue_collect();
		if
		:: ok -> tell(told)
		:: else -> tell(INDETERMINATE)
		fi
#endif
	fi;
	goto out;
#ifdef DEATHS
died:	atomic { files_left = true; waiting = false; told = NOTHING; ok = false;
	    publishing = publishing & ~(1 << GATEWAY) };
	/* start(): withdraw_one(), of a successor, if there is one. */
	if
	:: requests = false
	:: true
	fi;
#endif
out:	ok = false
}

/* --- lib/drain.c, lib/follow.c ---------------------------------------------- */

inline died_answering(me) {
	files_left = files_left || tmp[me] || (publishing & (1 << (me)));
	close_claim(me)
}

/*
 * What is printed is what is remembered: a line that did not get out whole is
 * answered by the drain itself, with what is true if nobody had it.
 */
inline drain_answer_unprinted(me) {
	if
#ifdef MUTANT_UNPRINTED
	:: mine != NOTHING && pipe[me] != WHOLE && pipe[me] != TAKEN ->
#else
	:: mine != NOTHING && pipe[me] == EMPTY ->
#endif
		queue_respond(me, mine)
	:: else
	fi
}

/* io_write_ready(): all of it, all but its end, or nothing that is of use. */
inline write_request(me) {
	if
	:: pipe[me] = WHOLE
	:: pipe[me] = UNTERMINATED ->
		if
		:: pipe[me] = WHOLE
		:: true
		fi
	:: true
	fi
}

/* A claim that nobody answered: recover_one() or fail_one(), put_lost(). */
inline put_lost(me, again) {
	if
	:: claimed ->				/* readdir */
		queue_has(responses != 0);
		if
		:: ok
		:: else ->
			queue_has(claimed && now == IN_TIME);
			if
			:: ok && is_safe && again ->
				mine = INDETERMINATE;	/* a 503 without it */
				write_request(me)
			:: ok && !(is_safe && again) ->
#ifdef MUTANT_RECOVER
				d_step { if :: claimed -> claimed = false;
				    requests = true :: else fi }
#else
				mine = INDETERMINATE;
				if
				:: lines = lines | LINE(INDETERMINATE);
				    mine = NOTHING
				:: true		/* unprinted */
				fi
#endif
			:: else
			fi
		fi
	:: true
	fi
}

/*
 * pc-drain -f, -f --recover: one that follows or recovers may end at any
 * time, and then says what is true of what it did not print.
 */
proctype drain(byte me; bool recover) {
	bool ok, shared, alone;
	byte mine;			/* what it would answer itself */

	if
	:: recover ->
		atomic {
			!drain_lock_alone && drain_lock_shared == 0 ->
			drain_lock_alone = true; alone = true
		};
		put_lost(me, true);
		d_step { drain_lock_alone = false; alone = false;
		    drain_lock_shared++; shared = true }
	:: else ->
		atomic {
			!drain_lock_alone ->
			drain_lock_shared++; shared = true
		}
	fi;
	if
	:: mine == NOTHING ->
		/* look(): drain_scan() */
		if
		:: requests
		:: goto stop
		fi;
		/* drain_take(): put_line(), then the claim */
		queue_has(requests && now == IN_TIME);
		if
		:: ok ->
#ifdef MUTANT_TAKE
			mine = NOT_STARTED; write_request(me); queue_claim()
#else
			queue_claim();
			if
			:: ok -> mine = NOT_STARTED; write_request(me)
			:: else
			fi
#endif
		:: else
		fi
	:: else
	fi;
stop:	drain_answer_unprinted(me);
#ifdef DEATHS
	goto out;
died:	atomic { died_answering(me) };
out:
#endif
	atomic {
		pipe_ended[me] = true;
		drain_lock_shared = drain_lock_shared - shared;
		if :: alone -> drain_lock_alone = false :: else fi;
		ok = false; shared = false; alone = false; mine = NOTHING
	}
}

/* pc-drain --fail */
proctype fail() {
	bool ok;
	byte mine;

	if
	:: requests ->
		queue_claim();
		if
		:: ok -> lines = lines | LINE(NOT_STARTED)
		:: else
		fi
	:: true
	fi;
	put_lost(FAIL, false);
#ifdef DEATHS
died:
#endif
	ok = false; mine = NOTHING
}

/* --- lib/dispatch.c, and lib/bridge.c --------------------------------------- */

#define HAS_LINE(d) \
	(pipe[d] == WHOLE || (pipe[d] == UNTERMINATED && pipe_ended[d]))

/* A request goes to the API: what must not happen twice, or after a "not". */
inline forward_begin() {
	d_step {
		assert(is_safe || !sent);
		assert(is_safe || told != NOT_STARTED);
		sent = true
	}
}

/* dispatch_take(), admit(): answered unsent, or sent, and then anything. */
inline dispatch_take() {
	if
	:: lines = lines | LINE(NOT_STARTED)
	:: forward_begin();
		if
		:: lines = lines | LINE(ANSWERED)
		:: lines = lines | LINE(INDETERMINATE)
		OR_DIE
		fi
	OR_DIE
	fi
}

/*
 * It may die anywhere; its successor knows nothing.  Who started it, if that
 * lives, answers what it had in hand: restart_host().
 */
proctype handler(byte me) {
	bool have;

	do
	:: atomic { HAS_LINE(DRAIN1) -> pipe[DRAIN1] = TAKEN; have = true };
		dispatch_take(); have = false
	:: atomic { HAS_LINE(DRAIN2) -> pipe[DRAIN2] = TAKEN; have = true };
		dispatch_take(); have = false
	:: goto out
	OR_DIE
	od;
#ifdef DEATHS
died:	if
	:: have -> lines = lines | LINE(INDETERMINATE)
	:: true
	fi;
	if
	:: me == HANDLER1 -> have = false; run handler(HANDLER2)
	:: else
	fi;
#endif
out:	have = false
}

/* --- lib/respond.c ---------------------------------------------------------- */

/* A sender that is unsure sends again, to any: lines stay what they are. */
proctype respond(byte me) {
	bool ok;
	byte says;

	if
	:: lines & LINE(ANSWERED) -> says = ANSWERED
	:: lines & LINE(NOT_STARTED) -> says = NOT_STARTED
	:: lines & LINE(INDETERMINATE) -> says = INDETERMINATE
	:: goto out
	fi;
	queue_respond(me, says);
	goto out;
#ifdef DEATHS
died:	atomic { died_answering(me) };
#endif
out:	ok = false; says = NOTHING
}

/* --- lib/sweep.c ------------------------------------------------------------ */

inline queue_remove_temporaries() {
	d_step {
		i = 0;
		do
		:: i < N ->
			if :: tmp_old[i] -> tmp[i] = false; tmp_old[i] = false
			:: else fi;
			i++
		:: else -> break
		od;
		i = 0
	}
}

/* Each visit() looks at the file, and then removes the name. */
inline sweep_run() {
	if
	:: requests && now >= EXPIRED -> unlink_requests()
	:: true
	fi;
	if
	:: claimed && now >= EXPIRED -> unlink_claimed()
	:: true
	fi;
	if
	:: responses != 0 && responses_old -> unlink_responses()
	:: true
	fi;
	queue_remove_temporaries()
}

proctype sweep() {
	bool ok;
	byte i;

	if
	:: now >= EXPIRED -> sweep_run()
	:: true
	fi;
#ifdef DEATHS
died:
#endif
	ok = false; i = 0
}

/* --- an existing peer's worker ---------------------------------------------- */

/*
 * processRequestFile(): the file stays where it is while the handler runs, and
 * the answer is renamed into place after looks that another may overtake.
 */
proctype old_worker() {
	bool ok;

	if
	:: requests
	:: goto out
	fi;
	forward_begin();
	/* writeResponseFile() */
	queue_has(requests);
	if
	:: ok -> open_temporary(OLD_WORKER); queue_has(requests)
	:: else -> goto remove
	fi;
	if
	:: ok -> queue_has(responses == 0)
	:: else
	fi;
	if
	:: ok ->
		if
		:: d_step {
			if
			:: tmp[OLD_WORKER] -> responses = OLD_WORKER;
			    responses_says = ANSWERED;
			    responses_old = tmp_old[OLD_WORKER]
			:: else
			fi;
			tmp[OLD_WORKER] = false; tmp_old[OLD_WORKER] = false
		}
		OR_DIE
		fi
	:: else -> unlink_temporary(OLD_WORKER)
	fi;
remove:	unlink_requests();
#ifdef DEATHS
died:
#endif
out:	atomic { publishing = publishing & ~(1 << OLD_WORKER); ok = false }
}

/* --- time, and the end ------------------------------------------------------ */

#ifdef PAUSE
#define quiet true
#else
#define quiet (publishing == 0 && !(waiting && responses != 0))
#endif

proctype clock() {
	if :: now = LATE :: true -> goto out fi;
	if :: now = EXPIRED :: true -> goto out fi;
	if
	:: atomic {
		quiet -> now = AGED;
		responses_old = (responses != 0);
		tmp_old[GATEWAY] = tmp[GATEWAY];
		tmp_old[DRAIN1] = tmp[DRAIN1];
		tmp_old[DRAIN2] = tmp[DRAIN2];
		tmp_old[RESPOND1] = tmp[RESPOND1];
		tmp_old[RESPOND2] = tmp[RESPOND2];
		tmp_old[OLD_WORKER] = tmp[OLD_WORKER]
	}
	:: true
	fi;
out:	skip
}

init {
	byte i;

	atomic {
#define START(role) run role
		START(gateway());
		START(clock());
#ifdef DRAINS
		START(drain(DRAIN1, false));
#if DRAINS > 1
#ifdef RECOVER
		START(drain(DRAIN2, true));
#else
		START(drain(DRAIN2, false));
#endif
#endif
		START(handler(HANDLER1));
#endif
#ifdef RESPONDERS
		START(respond(RESPOND1));
#if RESPONDERS > 1
		START(respond(RESPOND2));
#endif
#endif
#ifdef WITH_SWEEP
		START(sweep());
#endif
#ifdef WITH_FAIL
		START(fail());
#endif
#ifdef WITH_OLD_WORKER
		START(old_worker());
#endif
	};
	_nr_pr == 1;
	d_step {
		assert(!waiting);
		assert(timeless || wrote == 0 || told == NOTHING ||
		    got == wrote);
#if !defined(WITH_OLD_WORKER)
		assert(files_left || (!requests && !claimed && responses == 0 &&
		    !tmp[GATEWAY] && !tmp[DRAIN1] && !tmp[DRAIN2] &&
		    !tmp[RESPOND1] && !tmp[RESPOND2]));
#endif
		now = AGED; responses_old = (responses != 0);
		tmp_old[GATEWAY] = tmp[GATEWAY];
		tmp_old[DRAIN1] = tmp[DRAIN1];
		tmp_old[DRAIN2] = tmp[DRAIN2];
		tmp_old[RESPOND1] = tmp[RESPOND1];
		tmp_old[RESPOND2] = tmp[RESPOND2];
		tmp_old[OLD_WORKER] = tmp[OLD_WORKER];
	}
	/* The last sweep: all is past its time. */
	if :: requests -> requests = false :: else fi;
	if :: claimed -> claimed = false :: else fi;
	if :: responses_old -> responses = 0 :: else fi;
	queue_remove_temporaries();
	assert(!requests && !claimed && responses == 0 && !tmp[GATEWAY] &&
	    !tmp[DRAIN1] && !tmp[DRAIN2] && !tmp[RESPOND1] &&
	    !tmp[RESPOND2] && !tmp[OLD_WORKER])
}
