#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"
#include "beneath.h"
#include "io.h"
#include "lock.h"
#include "scope.h"
#include "stage.h"

#define LOCK_NAME	"staging.lock"
#define LOCK_MODE	0644
#define DIR_FLAGS	(O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int
stage_fault(struct fault *f)
{
	return fault_system(f, span_of(SCOPE_RUNTIME));
}

int
stage_open(struct stage *s, int root, const char *name, int64_t deadline,
    struct fault *f)
{
	*s = (struct stage){ .root = root, .name = name, .runtime = -1,
	    .lock = -1, .dir = -1, .new = -1 };
	if (mkdirat(root, SCOPE_RUNTIME, 0755) == -1 && errno != EEXIST)
		return stage_fault(f);
	s->runtime = openat(root, SCOPE_RUNTIME, DIR_FLAGS);
	if (s->runtime == -1)
		return stage_fault(f);
	/* Made here, since the mode must not hang on the umask. */
	io_close(openat(s->runtime, LOCK_NAME, O_RDONLY | O_CREAT |
	    O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, LOCK_MODE));
	switch (lock_acquire(s->runtime, LOCK_NAME, LOCK_EXCLUSIVE, deadline,
	    &s->lock)) {
	case LOCK_TAKEN:
		return 0;
	case LOCK_BUSY:
		stage_close(s);
		return fault_busy(f, span_of(SCOPE_RUNTIME "/" LOCK_NAME),
		    "another transfer is going on");
	case LOCK_FAILED:
		break;
	}
	stage_fault(f);
	stage_close(s);
	return -1;
}

void
stage_close(struct stage *s)
{
	io_close(s->new);
	io_close(s->dir);
	io_close(s->lock);
	io_close(s->runtime);
	s->new = s->dir = s->lock = s->runtime = -1;
}

int
stage_again(struct stage *s, struct fault *f)
{
	struct stat st;

	io_close(s->new);
	io_close(s->dir);
	s->new = -1;
	s->dir = openat(s->runtime, s->name, DIR_FLAGS);
	if (s->dir == -1 || fstat(s->dir, &st) == -1)
		return stage_fault(f);
	s->ino = st.st_ino;
	s->new = openat(s->dir, STAGE_NEW, DIR_FLAGS);
	return s->new == -1 ? stage_fault(f) : 0;
}

/* What a failure to open or find it means: 0 for nothing there, -1. */
static int
absent(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ? 0 : -1;
}

/* Half of what is there is nothing to go on with. */
static int
forget_about(const struct stage *s)
{
	int dir = s->dir != -1 ? s->dir :
	    openat(s->runtime, s->name, DIR_FLAGS), got;

	if (dir == -1)
		return absent(errno);
	got = unlinkat(dir, STAGE_ABOUT, 0);
	if (s->dir == -1)
		io_close(dir);
	return got == -1 && errno != ENOENT && errno != EISDIR ? -1 : 0;
}

int
stage_remove(struct stage *s, struct fault *f)
{
	if (forget_about(s) == -1)
		return stage_fault(f);
	io_close(s->new);
	io_close(s->dir);
	s->new = s->dir = -1;
	return beneath_remove_tree(s->runtime, s->name) == -1 ?
	    stage_fault(f) : 0;
}

int
stage_fresh(struct stage *s, struct fault *f)
{
	if (stage_remove(s, f) == -1)
		return -1;
	if (mkdirat(s->runtime, s->name, 0700) == -1)
		return stage_fault(f);
	s->dir = openat(s->runtime, s->name, DIR_FLAGS);
	if (s->dir == -1 || mkdirat(s->dir, STAGE_NEW, 0700) == -1)
		return stage_fault(f);
	return stage_again(s, f);
}

int
stage_file(struct stage *s, const char *name)
{
	return openat(s->dir, name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW |
	    O_CLOEXEC, 0600);
}

int
stage_has(const struct stage *s, const char *name)
{
	struct stat st;
	int dir = s->dir != -1 ? s->dir :
	    openat(s->runtime, s->name, DIR_FLAGS), got;

	if (dir == -1)
		return absent(errno);
	got = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
	if (s->dir == -1)
		io_close(dir);
	return got == 0 ? 1 : absent(errno);
}

int
stage_check_place(const struct stage *s, const char *name, bool folder,
    struct fault *f)
{
	struct buf path = { .data = NULL };
	struct stat st;
	int got = fstatat(s->runtime, name, &st, AT_SYMLINK_NOFOLLOW);

	if (got == -1 && errno == ENOENT)
		return 0;
	if (got == 0 && S_ISDIR(st.st_mode) == folder)
		return 0;
	buf_add_str(&path, SCOPE_RUNTIME "/");
	buf_add_str(&path, name);
	got = got == -1 ? fault_system(f, buf_span(&path)) :
	    fault_input(f, buf_span(&path), folder ?
	    "is in the place of a folder" : "a folder is in its place");
	buf_free(&path);
	return got;
}

int
stage_is_left(int root, const char *name)
{
	struct stat st;
	int runtime = openat(root, SCOPE_RUNTIME, O_PATH | O_DIRECTORY |
	    O_NOFOLLOW | O_CLOEXEC), got;

	if (runtime == -1)
		return absent(errno);
	got = fstatat(runtime, name, &st, AT_SYMLINK_NOFOLLOW);
	io_close(runtime);
	return got == 0 ? 1 : absent(errno);
}
