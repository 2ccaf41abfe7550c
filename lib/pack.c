#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "beneath.h"
#include "compare.h"
#include "git.h"
#include "io.h"
#include "json.h"
#include "pack.h"
#include "tar_write.h"

#define DELETED_CHUNK	65536	/* bytes of names in one member */
#define RUNS_MAX	65536	/* of a sparse file; more is sent as it is */
#define CHUNK		262144	/* bytes asked for at a time */

/* A folder on the way to the current entry, for a delta. */
struct parent {
	size_t len;		/* of its path */
	unsigned mode;
	bool sent;
};

struct packing {
	const struct pack *p;
	struct tar_writer *tar;
	struct walk *walk;
	struct fault *f;
	struct parent *parents;	/* of the path in `way` */
	size_t nparents;
	struct buf way;
	struct buf deleted;
	struct buf repository;	/* a .git that changed; all of it is sent */
};

static int
sink_fault(struct packing *k)
{
	return fault_system(k->f, span_of("archive"));
}

/* --- a file's content --- */

/* The next run of data at or after *at: 1, 0 when there is none, -1. */
static int
next_run(int fd, off_t size, off_t at, struct tar_run *x)
{
	off_t data = at >= size ? size : lseek(fd, at, SEEK_DATA), hole;

	if (data == -1 && errno != ENXIO)
		return -1;
	if (data == -1 || data >= size)
		return 0;
	if ((hole = lseek(fd, data, SEEK_HOLE)) == -1)
		return -1;
	if (hole > size)
		hole = size;
	*x = (struct tar_run){ (uint64_t)data, (uint64_t)(hole - data) };
	return 1;
}

/*
 * The runs of data of a file with holes, to be freed; NULL when it has none,
 * or so many that it is sent as it is.  A file system without SEEK_DATA says
 * that all is data.
 */
static struct tar_run *
find_runs(int fd, const struct stat *st, size_t *n)
{
	struct tar_run *all, *more, x = { 0, 0 };
	size_t cap = 16;
	int got;

	*n = 0;
	if ((uint64_t)st->st_blocks * 512 >= (uint64_t)st->st_size ||
	    (all = malloc(cap * sizeof(*all))) == NULL)
		return NULL;
	while ((got = next_run(fd, st->st_size, (off_t)(x.offset + x.len),
	    &x)) == 1) {
		if (*n == cap) {
			cap *= 2;
			more = cap > RUNS_MAX ? NULL :
			    realloc(all, cap * sizeof(*more));
			if (more == NULL)
				break;
			all = more;
		}
		all[(*n)++] = x;
	}
	if (got == 0)
		return all;
	free(all);
	return NULL;
}

/* len bytes of fd at offset, which the member lacks, and into sum. */
static int
send_run(struct packing *k, int fd, uint64_t offset, uint64_t len,
    const struct entry *e, struct sha256 *sum)
{
	uint8_t *room;
	size_t want;
	ssize_t n;

	while (len > 0) {
		want = len < CHUNK ? (size_t)len : CHUNK;
		if ((room = tar_write_reserve(k->tar, &want)) == NULL)
			return sink_fault(k);
		do
			n = pread(fd, room, want, (off_t)offset);
		while (n == -1 && errno == EINTR);
		if (n == -1)
			return fault_system(k->f, e->path);
		if (n == 0)
			return fault_cut(k->f, e->path,
			    "shrank while it was read");
		if (sum != NULL)
			sha256_add(sum, room, (size_t)n);
		if (tar_write_commit(k->tar, (size_t)n) == -1)
			return sink_fault(k);
		meter_moved(k->p->meter, (uint64_t)n);
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int
send_runs(struct packing *k, int fd, const struct entry *e,
    const struct tar_run *x, size_t n, struct sha256 *sum)
{
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (sum != NULL)
			sha256_add_zeros(sum, x[i].offset - at);
		if (send_run(k, fd, x[i].offset, x[i].len, e, sum) == -1)
			return -1;
		at = x[i].offset + x[i].len;
	}
	if (sum != NULL)
		sha256_add_zeros(sum, e->size - at);
	return 0;
}

static int
send_content(struct packing *k, int fd, struct found *now)
{
	struct entry *e = &now->entry;
	bool want_sum = k->p->manifest != NULL;
	struct tar_run *x, all = { 0, e->size };
	struct sha256 sum;
	size_t n;
	int got;

	sha256_init(&sum);
	x = find_runs(fd, &now->at.st, &n);
	got = x != NULL ? tar_write_sparse(k->tar, e, x, n) :
	    tar_write_entry(k->tar, e);
	if (got == -1)
		sink_fault(k);
	else
		got = send_runs(k, fd, e, x != NULL ? x : &all,
		    x != NULL ? n : 1, want_sum ? &sum : NULL);
	if (got == 0 && tar_write_member_end(k->tar) == -1)
		got = sink_fault(k);
	free(x);
	if (got == 0 && want_sum)
		sha256_end(&sum, e->sha256);
	return got;
}

/* What was read is what the stat data said, so it can be proved by it. */
static void
settle(int fd, struct found *now)
{
	struct stat after;

	now->summed = true;
	if (fstat(fd, &after) == -1 || after.st_size != now->at.st.st_size ||
	    stat_ctime_ns(&after) != stat_ctime_ns(&now->at.st))
		now->read_ns = INT64_MIN;
}

/* 0, 1 when the file has gone, -1. */
static int
send_file(struct packing *k, struct found *now)
{
	int fd = walk_open_file(k->walk, &now->at), got;

	if (fd == -1 && (errno == ENOENT || errno == EAGAIN))
		return 1;
	if (fd == -1 || fstat(fd, &now->at.st) == -1) {
		io_close(fd);
		return fault_system(k->f, now->entry.path);
	}
	if (!S_ISREG(now->at.st.st_mode)) {
		io_close(fd);
		return 1;
	}
	entry_from_stat(&now->entry, &now->at.st);
	now->read_ns = statcache_clock();
	got = tree_check_time(now, k->f);
	if (got == 0)
		got = send_content(k, fd, now);
	if (got == 0 && k->p->manifest != NULL)
		settle(fd, now);
	io_close(fd);
	return got;
}

/* --- the new manifest --- */

static int
note_entry(struct packing *k, const struct entry *e, const struct found *now)
{
	const struct pack *p = k->p;

	if (p->manifest != NULL && manifest_add(p->manifest, e) == -1)
		return fault_system(k->f, span_of("manifest"));
	if (p->new_cache != NULL && now != NULL && now->summed &&
	    e->type == ENTRY_FILE && statcache_add(p->new_cache, e->path,
	    &now->at.st, now->read_ns, now->entry.sha256) == -1)
		return fault_system(k->f, span_of("cache"));
	return 0;
}

/* One entry, and its line: 0, 1 when it has gone, -1. */
static int
send_entry(struct packing *k, struct found *now)
{
	int got = 0;

	if (now->entry.type == ENTRY_FILE)
		got = send_file(k, now);
	else if (tar_write_entry(k->tar, &now->entry) == -1 ||
	    tar_write_member_end(k->tar) == -1)
		got = sink_fault(k);
	if (got != 0)
		return got;
	notice(k->p->notices, NOTICE_NAME, now->entry.path, NULL);
	return note_entry(k, &now->entry, now);
}

/* --- the whole tree --- */

static int
pack_all(struct packing *k)
{
	struct found now;
	int got;

	while ((got = tree_next(k->walk, &now, k->p->notices, k->f)) == 1)
		if (send_entry(k, &now) == -1)
			return -1;
	return got;
}

/* --- what changed --- */

/* A member of our own with a few bytes in it. */
static int
send_note(struct packing *k, const char *name, struct span text)
{
	struct entry e = { .path = span_of(name), .type = ENTRY_FILE,
	    .mode = 0600, .size = text.n };

	if (tar_write_entry(k->tar, &e) == -1 ||
	    tar_write_data(k->tar, text.p, text.n) == -1 ||
	    tar_write_member_end(k->tar) == -1)
		return sink_fault(k);
	return 0;
}

static int
send_head(struct packing *k)
{
	char id[MANIFEST_ID_SIZE];
	struct buf b = { .data = NULL };
	int got;

	if (manifest_id(k->p->since, id, k->f) == -1)
		return -1;
	buf_add_str(&b, "{\"archive\":1,\"since\":\"");
	buf_add_str(&b, id);
	buf_add_str(&b, "\"}\n");
	got = buf_failed(&b) ? sink_fault(k) :
	    send_note(k, DELTA_HEAD, buf_span(&b));
	buf_free(&b);
	/* The receiver can look at its own tree while we look at ours. */
	if (got == 0 && sink_flush(k->p->sink) == -1)
		got = sink_fault(k);
	return got;
}

static int
flush_deleted(struct packing *k)
{
	if (buf_failed(&k->deleted))
		return sink_fault(k);
	if (k->deleted.len > 0 &&
	    send_note(k, DELTA_DELETED, buf_span(&k->deleted)) == -1)
		return -1;
	buf_reset(&k->deleted, DELETED_CHUNK * 2);
	return 0;
}

static int
note_deleted(struct packing *k, struct span path)
{
	buf_add_span(&k->deleted, path);
	buf_add_char(&k->deleted, '\0');
	notice(k->p->notices, NOTICE_NAME, path, "deleted");
	return k->deleted.len < DELETED_CHUNK ? 0 : flush_deleted(k);
}

/* Keeps the folders on the way to path, which is in the last of them. */
static void
leave_parents(struct packing *k, struct span path)
{
	struct span way;

	while (k->nparents > 0) {
		way = (struct span){ k->way.data,
		    k->parents[k->nparents - 1].len };
		if (path_is_below(path, way) && path.n > way.n)
			break;
		k->nparents--;
	}
}

static int
enter_parent(struct packing *k, const struct entry *e, bool sent)
{
	if (buf_set(&k->way, e->path) == -1)
		return fault_system(k->f, e->path);
	k->parents[k->nparents++] = (struct parent){ .len = e->path.n,
	    .mode = e->mode, .sent = sent };
	return 0;
}

static int
send_parents(struct packing *k)
{
	struct entry e = { .type = ENTRY_DIR };
	size_t i;

	for (i = 0; i < k->nparents; i++) {
		if (k->parents[i].sent)
			continue;
		e.path = (struct span){ k->way.data, k->parents[i].len };
		e.mode = k->parents[i].mode;
		if (tar_write_entry(k->tar, &e) == -1 ||
		    tar_write_member_end(k->tar) == -1)
			return sink_fault(k);
		k->parents[i].sent = true;
	}
	return 0;
}

/*
 * At a folder .git that was there: whether anything below it changed.  A
 * repository is one thing: then all of it but its objects is sent.
 */
static int
look_at_repository(struct packing *k, const struct compare_item *item)
{
	struct manifest *m;
	struct statcache *cache = NULL;
	struct compare *c = NULL;
	const struct entry *e;
	bool failed;
	int fd, got = -1;

	/* The parent's descriptor may be gone soon; the folder is opened. */
	fd = openat(item->now->at.dir, item->now->at.name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	m = manifest_fork(k->p->since);
	if (k->p->cache != NULL)
		cache = statcache_fork(k->p->cache);
	if (fd == -1 || m == NULL || (k->p->cache != NULL && cache == NULL)) {
		fault_system(k->f, item->path);
		goto out;
	}
	e = manifest_peek(m, k->f, &failed);
	if (failed)
		goto out;
	if (e != NULL && span_equal(e->path, item->path))
		manifest_next(m);
	c = compare_open(fd, item->path, k->p->scope, m, cache, NULL, k->f);
	if (c == NULL || (got = compare_any(c, k->f)) == -1)
		goto out;
	got = (got == 1 || item->change != CHANGE_NONE) &&
	    buf_set(&k->repository, item->path) == -1 ?
	    fault_system(k->f, item->path) : 0;
out:
	compare_free(c);
	manifest_free(m);
	statcache_free(cache);
	io_close(fd);
	return got;
}

/* Sent although unchanged, because its repository changed. */
static bool
goes_along(const struct packing *k, struct span path)
{
	struct span top, rest;

	return k->repository.len > 0 && git_unit(path, &top, &rest) &&
	    span_equal(top, buf_span(&k->repository)) &&
	    !git_is_object(rest);
}

/* The top of a repository that was there, and is a folder. */
static bool
is_known_repository(const struct compare_item *item)
{
	struct span top, rest;

	return item->change != CHANGE_ADDED &&
	    item->now->entry.type == ENTRY_DIR &&
	    git_unit(item->path, &top, &rest) && rest.n == 0;
}

static int
pack_item(struct packing *k, const struct compare_item *item)
{
	struct found *now = item->now;
	bool send = item->change != CHANGE_NONE;
	int got;

	if (item->change == CHANGE_DELETED)
		return note_deleted(k, item->path);
	leave_parents(k, item->path);
	if (is_known_repository(item) && look_at_repository(k, item) == -1)
		return -1;
	send = send || goes_along(k, item->path);
	if (now->entry.type == ENTRY_DIR &&
	    k->nparents == BENEATH_DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return fault_system(k->f, item->path);
	}
	if (send && send_parents(k) == -1)
		return -1;
	got = send ? send_entry(k, now) : note_entry(k, item->before, now);
	if (got == -1)
		return -1;
	/* Gone between the look and the opening. */
	if (got == 1)
		return item->before != NULL ? note_deleted(k, item->path) : 0;
	return now->entry.type == ENTRY_DIR ?
	    enter_parent(k, &now->entry, send) : 0;
}

static int
pack_changes(struct packing *k)
{
	struct span none = { NULL, 0 };
	struct compare *c;
	struct compare_item item;
	int got;

	if (send_head(k) == -1)
		return -1;
	c = compare_open(k->p->root, none, k->p->scope, k->p->since,
	    k->p->cache, k->p->notices, k->f);
	if (c == NULL)
		return -1;
	k->walk = compare_walk(c);
	while ((got = compare_next(c, &item, k->f)) == 1)
		if (pack_item(k, &item) == -1) {
			got = -1;
			break;
		}
	compare_free(c);
	k->walk = NULL;
	return got == -1 ? -1 : flush_deleted(k);
}

int
pack_tree(const struct pack *p, struct fault *f)
{
	struct packing k = { .p = p, .f = f };
	struct span none = { NULL, 0 };
	int got = -1;

	k.tar = tar_write_open(p->sink);
	k.parents = calloc(BENEATH_DEPTH_MAX, sizeof(*k.parents));
	if (k.tar == NULL || k.parents == NULL ||
	    (p->manifest != NULL && manifest_begin(p->manifest,
	    p->scope) == -1)) {
		fault_system(f, none);
	} else if (p->since != NULL) {
		got = pack_changes(&k);
	} else if ((k.walk = walk_open(p->root, none, p->scope,
	    p->follow)) == NULL) {
		fault_system(f, span_of("."));
	} else {
		got = pack_all(&k);
		walk_free(k.walk);
	}
	if (got == 0 && (tar_write_end(k.tar) == -1 ||
	    sink_finish(p->sink) == -1))
		got = sink_fault(&k);
	tar_write_free(k.tar);
	free(k.parents);
	buf_free(&k.way);
	buf_free(&k.deleted);
	buf_free(&k.repository);
	return got;
}

static int
measure_changes(const struct pack *p, uint64_t *bytes, struct fault *f)
{
	struct span none = { NULL, 0 };
	struct compare_item item;
	struct compare *c;
	int got;

	c = compare_open(p->root, none, p->scope, p->since, p->cache, NULL, f);
	if (c == NULL)
		return -1;
	while ((got = compare_next(c, &item, f)) == 1)
		if (item.now != NULL && item.change != CHANGE_NONE)
			*bytes += item.now->entry.size;
	compare_free(c);
	manifest_rewind(p->since);
	if (p->cache != NULL)
		statcache_rewind(p->cache);
	return got;
}

int
pack_measure(const struct pack *p, uint64_t *bytes, struct fault *f)
{
	struct span none = { NULL, 0 };
	struct found now;
	struct walk *w;
	int got;

	*bytes = 0;
	if (p->since != NULL)
		return measure_changes(p, bytes, f);
	if ((w = walk_open(p->root, none, p->scope, p->follow)) == NULL)
		return fault_system(f, span_of("."));
	while ((got = tree_next(w, &now, NULL, f)) == 1)
		*bytes += now.entry.size;
	walk_free(w);
	return got;
}
