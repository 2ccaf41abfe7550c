/*
 * Archives, in every armour: names have no NUL, runs of data are in order and
 * inside the file, nothing is endless, and what was read can be written and
 * is read again the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beneath.h"
#include "tar_read.h"
#include "tar_write.h"

#define MEMBERS_MAX	4096

static int
file_of(const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd == -1 || write(fd, data, len) != (ssize_t)len ||
	    lseek(fd, 0, SEEK_SET) == -1)
		abort();
	return fd;
}

static bool
has_nul(struct span s)
{
	return s.n > 0 && memchr(s.p, '\0', s.n) != NULL;
}

static void
check_data(struct tar_reader *r, const struct tar_member *m)
{
	uint64_t offset, at = 0;
	const uint8_t *data;
	size_t len;

	while (tar_read_data(r, &offset, &data, &len) == TAR_MEMBER) {
		if (len == 0 || offset < at || offset > m->size ||
		    len > m->size - offset || len > SOURCE_WINDOW)
			abort();
		at = offset + len;
	}
}

/* The member's header alone, written and read. */
static void
check_again(const struct tar_member *m)
{
	static char name[BENEATH_PATH_MAX], target[BENEATH_PATH_MAX];
	struct entry e = { .type = m->type == TAR_DIR ? ENTRY_DIR :
	    m->type == TAR_SYMLINK ? ENTRY_LINK : ENTRY_FILE,
	    .mode = m->mode & 0777, .mtime_ns = m->mtime_ns };
	struct tar_member n;
	struct tar_writer *w;
	struct tar_reader *r;
	struct source *source;
	struct sink *sink;
	int fd = memfd_create("again", MFD_CLOEXEC);

	memcpy(name, m->name.p, m->name.n);
	e.path = (struct span){ name, m->name.n };
	if (e.type == ENTRY_LINK) {
		memcpy(target, m->target.p, m->target.n);
		e.target = (struct span){ target, m->target.n };
	}
	sink = sink_open(fd, 0, false);
	w = tar_write_open(sink);
	if (tar_write_entry(w, &e) == -1 || tar_write_member_end(w) == -1 ||
	    tar_write_end(w) == -1 || sink_finish(sink) == -1)
		abort();
	tar_write_free(w);
	sink_free(sink);
	if (lseek(fd, 0, SEEK_SET) == -1)
		abort();
	source = source_open(fd, SOURCE_PLAIN);
	r = tar_read_open(source);
	if (tar_read_next(r, &n) != TAR_MEMBER ||
	    !span_equal(n.name, e.path) || n.mode != e.mode ||
	    n.mtime_ns != e.mtime_ns || (e.type == ENTRY_LINK &&
	    !span_equal(n.target, e.target)) ||
	    tar_read_next(r, &n) != TAR_END)
		abort();
	tar_read_free(r);
	source_free(source);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = file_of(data, len);
	struct source *source = source_open(fd, SOURCE_DETECT);
	struct tar_reader *r = tar_read_open(source);
	struct tar_member m;
	enum tar_result got = TAR_MEMBER;
	int n = 0;

	while (n++ < MEMBERS_MAX &&
	    (got = tar_read_next(r, &m)) == TAR_MEMBER) {
		if (has_nul(m.name) || has_nul(m.target))
			abort();
		if (path_check(m.name, 4096, 128) == PATH_OK &&
		    m.target.n < 4096 && m.type != TAR_OTHER &&
		    m.type != TAR_HARDLINK &&
		    (m.type != TAR_SYMLINK || m.target.n > 0))
			check_again(&m);
		check_data(r, &m);
	}
	if (got == TAR_BAD && tar_fault(r) == NULL)
		abort();
	tar_read_free(r);
	source_free(source);
	close(fd);
	return 0;
}
