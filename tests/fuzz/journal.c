/*
 * Journals.  An even first byte: any bytes are a file, read both ways to an
 * end, inside it.  An odd one: what is written of them is read the same,
 * forward and backward, and is no journal without its last byte.
 */
#include <errno.h>

#include "beneath.h"
#include "fuzz.h"
#include "journal.h"

#define RECORDS_MAX 256

static bool
same(const struct journal_record *a, const struct journal_record *b)
{
	return span_equal(a->path, b->path) && a->step == b->step &&
	    a->flags == b->flags && a->mode == b->mode &&
	    a->staged_ino == b->staged_ino && a->seen.ino == b->seen.ino &&
	    a->seen.size == b->seen.size &&
	    a->seen.mtime_ns == b->seen.mtime_ns &&
	    a->seen.ctime_ns == b->seen.ctime_ns &&
	    a->action == b->action && a->reason == b->reason &&
	    a->saved == b->saved && a->number == b->number;
}

static void
check_any(const uint8_t *data, size_t len)
{
	struct journal *j = journal_open(fuzz_file(data, len));
	struct journal_record r;
	size_t n = 0;
	int got;

	if (j == NULL) {
		check(errno == EBADMSG);
		return;
	}
	check(journal_run(j).n <= 64);
	while ((got = journal_next(j, &r)) == 1)
		check(++n <= len && r.path.n <= BENEATH_PATH_MAX);
	check(got == 0 || errno == EBADMSG);
	journal_to_end(j);
	for (n = 0; (got = journal_previous(j, &r)) == 1; )
		check(++n <= len && r.path.n <= BENEATH_PATH_MAX);
	check(got == 0 || errno == EBADMSG);
	journal_free(j);
}

/* Records out of any bytes: how many. */
static size_t
make(struct journal_record r[static RECORDS_MAX], struct span s)
{
	struct seen seen;
	size_t n = 0, len;

	while (s.n >= 8 + sizeof(seen) && n < RECORDS_MAX) {
		memcpy(&seen, s.p + 8, sizeof(seen));
		r[n] = (struct journal_record){
		    .step = (unsigned char)s.p[0] % (STEP_COPY + 1),
		    .flags = s.p[1] & 7, .mode = s.p[2] & 0777,
		    .action = (unsigned char)s.p[3] % (ACTION_HELD + 1),
		    .reason = (unsigned char)s.p[4] % (HELD_GIT + 1),
		    .saved = s.p[5] & 1, .staged_ino = (unsigned char)s.p[6],
		    .seen = seen, .number = n };
		len = (unsigned char)s.p[7];
		s.p += 8 + sizeof(seen);
		s.n -= 8 + sizeof(seen);
		r[n].path = (struct span){ s.p, len < s.n ? len : s.n };
		s.p += r[n].path.n;
		s.n -= r[n].path.n;
		n++;
	}
	return n;
}

static void
check_written(const uint8_t *data, size_t len)
{
	static struct journal_record all[RECORDS_MAX], r;
	size_t n = make(all, (struct span){ (const char *)data, len }), i;
	struct journal_writer w = { .fd = fuzz_file("", 0) };
	struct journal *j;
	off_t size;

	check(journal_begin(&w, 5, true, span_of("run")) == 0);
	for (i = 0; i < n; i++)
		check(journal_add(&w, &all[i]) == 0);
	check(journal_end(&w, false) == 0);
	check((j = journal_open(dup(w.fd))) != NULL);
	check(journal_staging_ino(j) == 5 && journal_has_manifest(j));
	check(span_is(journal_run(j), "run"));
	for (i = 0; i < n; i++)
		check(journal_next(j, &r) == 1 && same(&r, &all[i]));
	check(journal_next(j, &r) == 0);
	journal_to_end(j);
	for (i = n; i-- > 0; )
		check(journal_previous(j, &r) == 1 && same(&r, &all[i]));
	check(journal_previous(j, &r) == 0);
	journal_free(j);
	size = lseek(w.fd, 0, SEEK_END);
	check(ftruncate(w.fd, size - 1) == 0);
	check(journal_open(dup(w.fd)) == NULL && errno == EBADMSG);
	close(w.fd);
	journal_writer_free(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] & 1)
		check_written(data + 1, len - 1);
	else
		check_any(data + 1, len - 1);
	return 0;
}
