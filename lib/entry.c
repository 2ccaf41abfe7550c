#include "entry.h"

enum entry_change
entry_change(const struct entry *before, const struct entry *now)
{
	if (before->type != now->type)
		return CHANGE_TYPE;
	switch (before->type) {
	case ENTRY_FILE:
		if (before->size != now->size || memcmp(before->sha256,
		    now->sha256, SHA256_SIZE) != 0)
			return CHANGE_CONTENT;
		break;
	case ENTRY_DIR:
		break;
	case ENTRY_LINK:
		return span_equal(before->target, now->target) ?
		    CHANGE_NONE : CHANGE_TARGET;
	}
	return before->mode != now->mode ? CHANGE_MODE : CHANGE_NONE;
}

bool
entry_equal(const struct entry *a, const struct entry *b)
{
	return entry_change(a, b) == CHANGE_NONE;
}

bool
link_is_inside(struct span path, struct span target)
{
	size_t up = 0, depth = 0, i, start;
	bool down = false;

	if (target.n == 0 || target.p[0] == '/')
		return false;
	for (i = 0; i < path.n; i++)
		depth += path.p[i] == '/';
	/*
	 * ".." only where the way begins: after a name, it would lead up from
	 * wherever that name, perhaps a link, leads to.
	 */
	for (start = i = 0; i <= target.n; i++) {
		if (i < target.n && target.p[i] != '/')
			continue;
		if (i - start == 2 && memcmp(target.p + start, "..", 2) == 0) {
			if (down || ++up > depth)
				return false;
		} else if (i > start &&
		    !(i - start == 1 && target.p[start] == '.')) {
			down = true;
		}
		start = i + 1;
	}
	return true;
}

/* Beyond what can be counted it goes round: different, and no more. */
static int64_t
count_ns(const struct timespec *t)
{
	return (int64_t)((uint64_t)t->tv_sec * 1000000000 +
	    (uint64_t)t->tv_nsec);
}

int64_t
stat_mtime_ns(const struct stat *st)
{
	return count_ns(&st->st_mtim);
}

int64_t
stat_ctime_ns(const struct stat *st)
{
	return count_ns(&st->st_ctim);
}

bool
stat_mtime_counts(const struct stat *st)
{
	/* What tar_pax.c reads. */
	return st->st_mtim.tv_sec >= -9223372035 &&
	    st->st_mtim.tv_sec <= 9223372035;
}

void
entry_from_stat(struct entry *e, const struct stat *st)
{
	e->type = S_ISDIR(st->st_mode) ? ENTRY_DIR :
	    S_ISLNK(st->st_mode) ? ENTRY_LINK : ENTRY_FILE;
	e->mode = e->type == ENTRY_LINK ? 0777 : st->st_mode & 0777;
	e->size = e->type == ENTRY_FILE ? (uint64_t)st->st_size : 0;
	e->mtime_ns = e->type == ENTRY_FILE ? stat_mtime_ns(st) : 0;
}
