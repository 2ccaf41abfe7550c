/*
 * race [DIR [ROUNDS]] - lib/queue with everybody at once, in DIR (".").
 *
 * In each round threads that share nothing but the directory fall upon one
 * request at the same moment.  TAP: one point for each kind of race.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "queue.h"

#define THREADS 4

enum outcome { LOST, CLAIMED, WITHDRAWN, DELIVERED, REFUSED, COLLECTED,
    WRONG, OUTCOMES };

struct racer {
	pthread_t thread;
	struct queue q;
	unsigned int number;
	enum outcome outcome;
};

/* What a thread does, and what the outcomes of a round must be. */
struct race {
	const char *name;
	enum outcome (*run)(struct racer *r, const char *id);
	bool (*holds)(const int count[static OUTCOMES], const char *id);
	bool claimed;		/* before the start */
};

static pthread_barrier_t gate;
static struct racer racers[THREADS];
static const struct race *race;
static char id[32];
static atomic_int gone;

static enum outcome
claim_or_withdraw(struct racer *r, const char *name)
{
	bool claims = r->number % 2 == 0;

	if ((claims ? queue_claim(&r->q, name) :
	    queue_withdraw(&r->q, name)) == 0)
		return claims ? CLAIMED : WITHDRAWN;
	return errno == ENOENT || (claims && errno == EEXIST) ? LOST : WRONG;
}

static bool
one_winner(const int count[static OUTCOMES], const char *name)
{
	struct queue *q = &racers[0].q;

	return count[CLAIMED] + count[WITHDRAWN] == 1 && count[WRONG] == 0 &&
	    queue_has(q, QUEUE_CLAIMED, name) == (count[CLAIMED] == 1) &&
	    !queue_has(q, QUEUE_REQUESTS, name);
}

/* One that met another's lock comes again, as responders do. */
static enum queue_delivery
respond(struct racer *r, const char *name, struct span text)
{
	enum queue_delivery d;

	do
		d = queue_respond(&r->q, name, text);
	while (d == QUEUE_FAILED && errno == EAGAIN);
	return d;
}

static enum outcome
answer(struct racer *r, const char *name)
{
	char text[2] = { (char)('0' + r->number), '\0' };

	switch (respond(r, name, span_of(text))) {
	case QUEUE_DELIVERED:
		return DELIVERED;
	case QUEUE_ANSWERED:
	case QUEUE_UNKNOWN:
		return REFUSED;
	default:
		return WRONG;
	}
}

static bool
one_answer(const int count[static OUTCOMES], const char *name)
{
	struct queue *q = &racers[0].q;

	return count[DELIVERED] == 1 && count[WRONG] == 0 &&
	    queue_has(q, QUEUE_RESPONSES, name) &&
	    !queue_has(q, QUEUE_REQUESTS, name) &&
	    !queue_has(q, QUEUE_CLAIMED, name);
}

/* Thread 0 leaves, as requesters do; the others answer. */
static enum outcome
answer_or_leave(struct racer *r, const char *name)
{
	enum queue_delivery d;
	struct buf b = { 0 };
	enum outcome outcome;

	if (r->number > 0) {
		d = respond(r, name, span_of("x"));
		return d == QUEUE_DELIVERED ? DELIVERED :
		    d == QUEUE_FAILED ? WRONG : REFUSED;
	}
	if (queue_give_up(&r->q, name) == QUEUE_WITHDRAWN)
		return WITHDRAWN;
	outcome = queue_collect(&r->q, name, 10, &b) == 0 ? COLLECTED :
	    errno == ENOENT ? LOST : WRONG;
	buf_free(&b);
	return outcome;
}

/* "Delivered" is never said of an answer nobody got; nothing stays behind. */
static bool
nothing_left(const int count[static OUTCOMES], const char *name)
{
	struct queue *q = &racers[0].q;

	return count[WRONG] == 0 && count[DELIVERED] <= count[COLLECTED] &&
	    (count[WITHDRAWN] == 0 || count[DELIVERED] == 0) &&
	    !queue_has(q, QUEUE_RESPONSES, name) &&
	    !queue_has(q, QUEUE_REQUESTS, name) &&
	    !queue_has(q, QUEUE_CLAIMED, name);
}

static const struct race races[] = {
	{ "claim and withdraw: exactly one winner", claim_or_withdraw,
	    one_winner, false },
	{ "responders of an unclaimed request: the first answer wins", answer,
	    one_answer, false },
	{ "responders of a claimed request: the first answer wins", answer,
	    one_answer, true },
	{ "responders and a requester that leaves: nothing stays",
	    answer_or_leave, nothing_left, false },
	{ "the same after the claim", answer_or_leave, nothing_left, true }
};

static void *
racer_run(void *arg)
{
	struct racer *r = arg;

	for (;;) {
		pthread_barrier_wait(&gate);
		if (gone)
			return NULL;
		r->outcome = race->run(r, id);
		pthread_barrier_wait(&gate);
	}
}

/* Rounds that did not hold. */
static int
run_race(int rounds)
{
	struct queue *q = &racers[0].q;
	int i, k, bad = 0, count[OUTCOMES], total[OUTCOMES] = { 0 };

	for (i = 0; i < rounds; i++) {
		snprintf(id, sizeof(id), "%d-%d", (int)(race - races), i);
		if (queue_submit(q, id, span_of("{}\n")) == -1 ||
		    (race->claimed && queue_claim(q, id) == -1))
			return rounds;
		pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate);
		memset(count, 0, sizeof(count));
		for (k = 0; k < THREADS; k++) {
			count[racers[k].outcome]++;
			total[racers[k].outcome]++;
		}
		bad += !race->holds(count, id);
		for (k = 0; k < QUEUE_FOLDERS; k++)
			queue_remove(q, (enum queue_folder)k, id);
	}
	printf("# lost %d claimed %d withdrawn %d delivered %d refused %d "
	    "collected %d wrong %d\n", total[LOST], total[CLAIMED],
	    total[WITHDRAWN], total[DELIVERED], total[REFUSED],
	    total[COLLECTED], total[WRONG]);
	return bad;
}

int
main(int argc, char *argv[])
{
	int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 10000;
	int bad, failed = 0;
	size_t i;

	if (rounds < 1 || pthread_barrier_init(&gate, NULL, THREADS + 1) != 0)
		return 100;
	for (i = 0; i < THREADS; i++) {
		racers[i].number = (unsigned int)i;
		if (queue_open(&racers[i].q, argc > 1 ? argv[1] : ".",
		    QUEUE_CREATE) == -1 || pthread_create(&racers[i].thread,
		    NULL, racer_run, &racers[i]) != 0) {
			perror("race");
			return 111;
		}
	}
	printf("1..%zu\n", sizeof(races) / sizeof(races[0]));
	for (i = 0; i < sizeof(races) / sizeof(races[0]); i++) {
		race = &races[i];
		bad = run_race(rounds);
		failed += bad > 0;
		printf("%sok %zu - %s: %d rounds\n", bad > 0 ? "not " : "",
		    i + 1, race->name, rounds);
		if (bad > 0)
			printf("# %d rounds failed\n", bad);
	}
	gone = 1;
	pthread_barrier_wait(&gate);
	for (i = 0; i < THREADS; i++) {
		pthread_join(racers[i].thread, NULL);
		queue_close(&racers[i].q);
	}
	return failed > 0;
}
