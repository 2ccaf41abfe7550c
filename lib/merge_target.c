/* What a path is on the host, and whether that is what another tree has. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"
#include "merge_plan.h"

int
target_look(struct merge_plan *p, struct span path, struct target *t)
{
	struct walk_entry at = { .path = path };
	const char *name;
	ssize_t n;
	int dir = beneath_parent(p->plan.tree, path, &name);

	t->kind = TARGET_NONE;
	t->summed = false;
	if (dir == -1 && (errno == ENOTDIR || errno == ELOOP)) {
		t->kind = TARGET_BLOCKED;
		return 0;
	}
	if (dir == -1 || fstatat(dir, name, &t->st,
	    AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : fault_system(p->f, path);
	t->kind = S_ISREG(t->st.st_mode) || S_ISDIR(t->st.st_mode) ||
	    S_ISLNK(t->st.st_mode) ? TARGET_ENTRY : TARGET_OTHER;
	t->entry = (struct entry){ .path = path };
	if (t->kind == TARGET_OTHER)
		return 0;
	entry_from_stat(&t->entry, &t->st);
	if (t->entry.type != ENTRY_LINK)
		return 0;
	at.dir = dir;
	at.name = name;
	if ((n = walk_read_link(&at, t->link)) == -1)
		return fault_system(p->f, path);
	t->entry.target = (struct span){ t->link, (size_t)n };
	return 0;
}

/* The sum of the host's file, from the cache or by reading. */
static int
target_sum(struct merge_plan *p, struct span path, struct target *t)
{
	const char *name;
	struct stat st;
	int dir, fd, got;

	if (t->summed)
		return 0;
	t->summed = true;
	if (p->m->cache != NULL && statcache_find(p->m->cache, path, &t->st,
	    t->entry.sha256))
		return 0;
	if ((dir = beneath_parent(p->plan.tree, path, &name)) == -1)
		return fault_system(p->f, path);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	if (fd == -1)
		return fault_system(p->f, path);
	/* What is put in its place later is what was read here, or saved. */
	got = fstat(fd, &st) == -1 || sha256_fd(fd, t->entry.sha256) == -1 ?
	    fault_system(p->f, path) : 0;
	if (got == 0 && st.st_ino == t->st.st_ino)
		t->st = st;
	io_close(fd);
	return got;
}

int
target_is(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *e)
{
	if (e == NULL || t->kind != TARGET_ENTRY)
		return e == NULL && (t->kind == TARGET_NONE ||
		    t->kind == TARGET_BLOCKED);
	if (t->entry.type != e->type)
		return 0;
	if (e->type == ENTRY_FILE) {
		if (t->entry.size != e->size || t->entry.mode != e->mode)
			return 0;
		if (target_sum(p, path, t) == -1)
			return -1;
	}
	return entry_equal(&t->entry, e);
}

int
target_has_content(struct merge_plan *p, struct span path, struct target *t,
    const struct entry *e)
{
	if (e == NULL || t->kind != TARGET_ENTRY ||
	    e->type != ENTRY_FILE || t->entry.type != ENTRY_FILE ||
	    t->entry.size != e->size)
		return 0;
	if (target_sum(p, path, t) == -1)
		return -1;
	return memcmp(t->entry.sha256, e->sha256, SHA256_SIZE) == 0;
}
