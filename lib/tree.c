#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "beneath.h"
#include "io.h"
#include "tree.h"

#define ATTEMPTS	5
#define CHUNK		65536

/* What else there is to know without reading a file: 1, 0 for none, -1. */
static int
fill(struct walk *w, struct found *e)
{
	ssize_t n;

	e->summed = false;
	if (walk_stat(w, &e->at) == -1)
		return errno == ENOENT ? 0 : -1;
	if (e->at.type == WALK_OTHER)
		return 0;
	e->entry = (struct entry){ .path = e->at.path };
	entry_from_stat(&e->entry, &e->at.st);
	if (e->at.type != WALK_LINK)
		return 1;
	if ((n = walk_read_link(&e->at, e->link)) == -1)
		return errno == ENOENT || errno == EINVAL ? 0 : -1;
	e->entry.target = (struct span){ e->link, (size_t)n };
	return 1;
}

int
tree_next(struct walk *w, struct found *e, const struct notices *n,
    struct fault *f)
{
	int got;

	for (;;) {
		switch (walk_next(w, &e->at)) {
		case WALK_END:
			return 0;
		case WALK_FAILED:
			return fault_system(f, e->at.path);
		case WALK_ENTRY:
			break;
		}
		if ((got = fill(w, e)) == -1)
			return fault_system(f, e->at.path);
		if (got == 1)
			return 1;
		if (e->at.type == WALK_OTHER)
			notice(n, NOTICE_LEFT_OUT, e->at.path,
			    "not a file, folder or link, left out");
	}
}

/* The sum of size bytes of fd: 0, 1 when there are fewer, -1. */
static int
sum_bytes(int fd, uint64_t size, uint8_t sum[static SHA256_SIZE])
{
	struct sha256 ctx;
	char block[CHUNK];
	size_t want;
	ssize_t n;

	sha256_init(&ctx);
	while (size > 0) {
		want = size < sizeof(block) ? (size_t)size : sizeof(block);
		if ((n = io_read_full(fd, block, want)) == -1)
			return -1;
		sha256_add(&ctx, block, (size_t)n);
		if ((size_t)n < want)
			return 1;
		size -= want;
	}
	sha256_end(&ctx, sum);
	return 0;
}

/* One attempt: 0, 1 when it is worth another, -1. */
static int
sum_once(int fd, struct found *e)
{
	struct stat after;
	int got;

	if (lseek(fd, 0, SEEK_SET) == -1 || fstat(fd, &e->at.st) == -1)
		return -1;
	if (!S_ISREG(e->at.st.st_mode)) {
		errno = EAGAIN;
		return -1;
	}
	entry_from_stat(&e->entry, &e->at.st);
	e->read_ns = statcache_clock();
	got = sum_bytes(fd, e->entry.size, e->entry.sha256);
	if (got != 0)
		return got;
	if (fstat(fd, &after) == -1)
		return -1;
	if (stat_ctime_ns(&after) != stat_ctime_ns(&e->at.st) ||
	    after.st_size != e->at.st.st_size)
		e->read_ns = INT64_MIN;		/* proves nothing later */
	return 0;
}

int
tree_sum(struct walk *w, struct found *e, struct statcache *cache,
    struct fault *f)
{
	int fd, got = 1, i;

	if (cache != NULL && statcache_find(cache, e->entry.path, &e->at.st,
	    e->entry.sha256)) {
		e->summed = true;
		e->read_ns = INT64_MAX;
		return 0;
	}
	if ((fd = walk_open_file(w, &e->at)) == -1) {
		if (errno == ENOENT || errno == EAGAIN)
			return 1;
		return fault_system(f, e->entry.path);
	}
	for (i = 0; i < ATTEMPTS && got == 1; i++)
		got = sum_once(fd, e);
	io_close(fd);
	if (got == -1 && errno == EAGAIN)
		return 1;
	if (got == -1)
		return fault_system(f, e->entry.path);
	if (got == 1)
		return fault_cut(f, e->entry.path,
		    "keeps shrinking while it is read");
	e->summed = true;
	return 0;
}

int
tree_check_time(const struct found *e, struct fault *f)
{
	return e->entry.type != ENTRY_FILE || stat_mtime_counts(&e->at.st) ?
	    0 : fault_input(f, e->entry.path,
	    "its time is not between 1678 and 2262");
}

/* One that was put there, with what it is now. */
static int
add_put(struct statcache_writer *w, struct beneath *b, const struct entry *e)
{
	struct stat st;
	const char *name;
	int dir;

	if (e->type != ENTRY_FILE)
		return 0;
	dir = beneath_parent(b, e->path, &name);
	if (dir == -1 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    (uint64_t)st.st_size != e->size ||
	    stat_mtime_ns(&st) != e->mtime_ns)
		return 0;
	return statcache_add(w, e->path, &st, statcache_clock(), e->sha256);
}

int
tree_update_cache(int root, struct manifest *lines, struct statcache *old,
    struct statcache_writer *out, struct fault *f)
{
	struct beneath *b = beneath_open(root);
	struct span none = { NULL, 0 };
	const struct entry *e;
	bool failed = false;
	int got = b == NULL ? -1 : 0;

	while (got == 0 && (e = manifest_peek(lines, f, &failed)) != NULL) {
		got = statcache_copy(out, old, e->path);
		if (got == 0)
			got = add_put(out, b, e);
		manifest_next(lines);
	}
	if (got == 0 && !failed)
		got = statcache_copy(out, old, none);
	beneath_free(b);
	if (failed)
		return -1;
	return got == -1 ? fault_system(f, span_of("cache")) : 0;
}

int
tree_snapshot(int root, const struct scope *s, struct statcache *old,
    struct manifest_writer *m, struct statcache_writer *cache,
    const struct notices *n, struct fault *f)
{
	struct span none = { NULL, 0 };
	struct walk *w = walk_open(root, none, s, false);
	struct found e;
	int got, summed;

	if (w == NULL)
		return fault_system(f, span_of("."));
	if (manifest_begin(m, s) == -1) {
		walk_free(w);
		return fault_system(f, none);
	}
	while ((got = tree_next(w, &e, n, f)) == 1) {
		if (e.entry.type == ENTRY_FILE) {
			if ((summed = tree_sum(w, &e, old, f)) == 1)
				continue;
			if (summed == -1 || tree_check_time(&e, f) == -1) {
				got = -1;
				break;
			}
			if (cache != NULL && statcache_add(cache, e.entry.path,
			    &e.at.st, e.read_ns, e.entry.sha256) == -1) {
				got = fault_system(f, span_of("cache"));
				break;
			}
		}
		if (manifest_add(m, &e.entry) == -1) {
			got = fault_system(f, span_of("manifest"));
			break;
		}
	}
	walk_free(w);
	return got;
}
