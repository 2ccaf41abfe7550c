/*
 * beneath - tests of lib/beneath, in a folder of its own below the current
 * one.  What needs root (another user, a mount) is skipped without.
 */
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "beneath.h"
#include "buf.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define SWAPS		10000
#define NOBODY		65534

static int top;			/* the folder of the test that runs */
static int tests, failures;

static _Noreturn void
fail(const char *what)
{
	perror(what);
	exit(111);
}

static void
report(bool ok, const char *name)
{
	printf("%sok %d - beneath: %s\n", ok ? "" : "not ", ++tests, name);
	failures += !ok;
}

static void
skip(const char *name, const char *why)
{
	printf("ok %d - beneath: %s # SKIP %s\n", ++tests, name, why);
}

/*
 * Takes the place of the C library's, so that a test can act at exactly the
 * worst moments.
 */
static void (*before_rmdir)(int dir, const char *name);
static void (*when_not_empty)(void);

int
unlinkat(int dir, const char *name, int flags)
{
	int got, saved;

	if (flags != 0 && before_rmdir != NULL)
		before_rmdir(dir, name);
	got = (int)syscall(SYS_unlinkat, dir, name, flags);
	saved = errno;
	if (got == -1 && errno == ENOTEMPTY && when_not_empty != NULL)
		when_not_empty();
	errno = saved;
	return got;
}

/* Says which condition it was. */
static bool
is(bool condition, const char *text, const char *of)
{
	if (!condition)
		printf("# %s: not %s (%s)\n", of, text, strerror(errno));
	return condition;
}

#define IS(condition, of)	is(condition, #condition, of)

/* --- files --- */

static void
make_dir(int dir, const char *name)
{
	if (mkdirat(dir, name, 0755) == -1)
		fail(name);
}

static void
make_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
	    0644);

	if (fd == -1 || write(fd, "x", 1) != 1)
		fail(name);
	close(fd);
}

static void
make_link(const char *target, int dir, const char *name)
{
	if (symlinkat(target, dir, name) == -1)
		fail(name);
}

static int
open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		fail(name);
	return fd;
}

static bool
is_there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool
is_same_folder(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 &&
	    x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static size_t
entries(int dir, const char *name)
{
	DIR *d = fdopendir(open_dir(dir, name));
	size_t n = 0;

	if (d == NULL)
		fail(name);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static size_t
open_descriptors(void)
{
	size_t n = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

/* --- names --- */

struct check {
	const char *path;
	size_t n;		/* 0: up to its NUL */
	size_t max, depth;
	enum path_fault want;
};

static const struct check checks[] = {
	{ "a", 0, 10, 10, PATH_OK },
	{ "a/b/c", 0, 5, 3, PATH_OK },
	{ "...", 0, 10, 10, PATH_OK },
	{ "..a/.b/c./d..", 0, 99, 10, PATH_OK },
	{ " ", 0, 10, 10, PATH_OK },
	{ "\xff\n\\", 0, 10, 10, PATH_OK },
	{ "", 0, 10, 10, PATH_EMPTY },
	{ "a//b", 0, 10, 10, PATH_EMPTY },
	{ "a/", 0, 10, 10, PATH_EMPTY },
	{ "a/b//", 0, 10, 10, PATH_EMPTY },
	{ "/", 0, 10, 10, PATH_ABSOLUTE },
	{ "/a", 0, 10, 10, PATH_ABSOLUTE },
	{ "//a", 0, 10, 10, PATH_ABSOLUTE },
	{ ".", 0, 10, 10, PATH_DOTS },
	{ "..", 0, 10, 10, PATH_DOTS },
	{ "./a", 0, 10, 10, PATH_DOTS },
	{ "../a", 0, 10, 10, PATH_DOTS },
	{ "a/.", 0, 10, 10, PATH_DOTS },
	{ "a/..", 0, 10, 10, PATH_DOTS },
	{ "a/./b", 0, 10, 10, PATH_DOTS },
	{ "a/../b", 0, 10, 10, PATH_DOTS },
	{ "a\0b", 3, 10, 10, PATH_NUL },
	{ "\0", 1, 10, 10, PATH_NUL },
	{ "a/b\0", 4, 10, 10, PATH_NUL },
	{ "abc", 0, 2, 10, PATH_LONG },
	{ "a/b/c", 0, 4, 10, PATH_LONG },
	{ "a/b/c", 0, 10, 2, PATH_DEEP },
	{ "a", 0, 10, 0, PATH_DEEP },
};

static void
test_check(void)
{
	const struct check *c;
	struct span path;
	bool ok = true;
	size_t i;

	for (i = 0; i < COUNT(checks); i++) {
		c = &checks[i];
		path = (struct span){ c->path,
		    c->n > 0 ? c->n : strlen(c->path) };
		if (path_check(path, c->max, c->depth) == c->want)
			continue;
		printf("# row %zu: %s, not %s\n", i, path_fault_text(
		    path_check(path, c->max, c->depth)),
		    path_fault_text(c->want));
		ok = false;
	}
	report(ok, "path_check, a table");
}

/* count components of len bytes */
static void
long_path(struct buf *b, size_t count, size_t len)
{
	size_t i;

	buf_reset(b, b->cap);
	for (; count > 0; count--) {
		for (i = 0; i < len; i++)
			buf_add_char(b, 'a');
		if (count > 1)
			buf_add_char(b, '/');
	}
	if (buf_failed(b))
		fail("memory");
}

static enum path_fault
check_long(struct buf *b, size_t count, size_t len)
{
	long_path(b, count, len);
	return path_check(buf_span(b), SIZE_MAX, SIZE_MAX);
}

static void
test_check_limits(void)
{
	struct buf b = { 0 };
	bool ok;

	ok = IS(check_long(&b, 1, 255) == PATH_OK, "limits") &&
	    IS(check_long(&b, 1, 256) == PATH_NAME_LONG, "limits") &&
	    IS(check_long(&b, 64, 255) == PATH_OK, "limits") &&
	    IS(check_long(&b, 65, 255) == PATH_LONG, "limits") &&
	    IS(check_long(&b, BENEATH_DEPTH_MAX, 1) == PATH_OK, "limits") &&
	    IS(check_long(&b, BENEATH_DEPTH_MAX + 1, 1) == PATH_DEEP,
	    "limits");
	report(ok, "path_check has limits whatever the caller's are");
	buf_free(&b);
}

/* As memcmp, by the definition: component by component. */
static int
compare_components(struct span a, struct span b)
{
	size_t n, m, least;
	int order;

	for (;;) {
		for (n = 0; n < a.n && a.p[n] != '/'; n++)
			;
		for (m = 0; m < b.n && b.p[m] != '/'; m++)
			;
		least = n < m ? n : m;
		order = memcmp(a.p, b.p, least);
		if (order != 0)
			return order;
		if (n != m)
			return n < m ? -1 : 1;
		if (n == a.n || m == b.n)
			return (n < a.n) - (m < b.n);
		a = (struct span){ a.p + n + 1, a.n - n - 1 };
		b = (struct span){ b.p + m + 1, b.n - m - 1 };
	}
}

static int
sign(int n)
{
	return (n > 0) - (n < 0);
}

/* A valid path of few different bytes, those around '/' among them. */
static struct span
random_path(char out[static 16])
{
	static const char bytes[] = "a\x01\x7f\xff./-0";
	size_t n = 0, parts = 1 + (size_t)rand() % 3, len;

	for (; parts > 0; parts--) {
		for (len = 1 + (size_t)rand() % 3; len > 0; len--)
			out[n++] = bytes[(size_t)rand() % 5];
		if (rand() % 4 == 0)
			out[n - 1] = bytes[6 + (size_t)rand() % 2];
		if (parts > 1)
			out[n++] = '/';
	}
	return (struct span){ out, n };
}

static int
compare_spans(const void *a, const void *b)
{
	return path_compare(*(const struct span *)a, *(const struct span *)b);
}

static void
test_compare(void)
{
	static char text[2000][16];
	static struct span paths[COUNT(text)];
	bool ok = true;
	size_t i, k;

	for (i = 0; i < COUNT(text); i++)
		paths[i] = random_path(text[i]);
	qsort(paths, COUNT(paths), sizeof(paths[0]), compare_spans);
	for (i = 0; i < COUNT(paths) && ok; i++)
		for (k = 0; k < COUNT(paths) && ok; k++)
			ok = sign(path_compare(paths[i], paths[k])) ==
			    sign(compare_components(paths[i], paths[k])) &&
			    sign(path_compare(paths[i], paths[k])) ==
			    -sign(path_compare(paths[k], paths[i])) &&
			    (i > k || path_compare(paths[i], paths[k]) <= 0);
	report(ok, "path_compare is the order of lists of components");
}

static void
test_parts(void)
{
	bool ok;

	ok = IS(span_is(path_name(span_of("a/b/c")), "c"), "name") &&
	    IS(span_is(path_name(span_of("a")), "a"), "name") &&
	    IS(span_is(path_parent(span_of("a/b/c")), "a/b"), "parent") &&
	    IS(path_parent(span_of("a")).n == 0, "parent") &&
	    IS(path_is_below(span_of("a/b"), span_of("a/b")), "below") &&
	    IS(path_is_below(span_of("a/b/c"), span_of("a/b")), "below") &&
	    IS(path_is_below(span_of("a"), span_of("")), "below") &&
	    IS(!path_is_below(span_of("a/bc"), span_of("a/b")), "below") &&
	    IS(!path_is_below(span_of("a"), span_of("a/b")), "below") &&
	    IS(!path_is_below(span_of("b/a"), span_of("a")), "below");
	report(ok, "path_name, path_parent, path_is_below");
}

/* --- folders by descriptor --- */

/* The path's parent is that folder. */
static bool
leads_to(struct beneath *b, const char *path, const char *folder)
{
	const char *name = NULL;
	int got = beneath_parent(b, span_of(path), &name), want;
	bool ok;

	want = *folder == '\0' ? dup(top) : open_dir(top, folder);
	ok = IS(got != -1, path) && IS(is_same_folder(got, want), path) &&
	    IS(span_equal(span_of(name), path_name(span_of(path))), path);
	close(want);
	return ok;
}

static void
test_way(void)
{
	static const char *const steps[][2] = {
		{ "a/b/c/f", "a/b/c" }, { "a/b/c/g", "a/b/c" },
		{ "a/b/f", "a/b" }, { "f", "" }, { "a/bc/f", "a/bc" },
		{ "a/b/c/c", "a/b/c" }, { "a/b/c/c/f", "a/b/c/c" },
		{ "b/c/f", "b/c" }, { "a/f", "a" },
	};
	size_t before = open_descriptors(), i;
	struct beneath *b = beneath_open(top);
	bool ok = b != NULL;
	const char *name;
	int fd;

	if (ok)
		ok = IS(beneath_parent_made(b, span_of("a/b/c/c/f"), 0755,
		    &name) != -1, "made") &&
		    IS(beneath_parent_made(b, span_of("a/bc/f"), 0750,
		    &name) != -1, "made") &&
		    IS(beneath_parent_made(b, span_of("b/c/f"), 0755,
		    &name) != -1, "made");
	for (i = 0; i < COUNT(steps) && ok; i++)
		ok = leads_to(b, steps[i][0], steps[i][1]);
	if (ok) {
		fd = beneath_dir(b, span_of("a/b/c"));
		ok = IS(fd != -1, "dir") &&
		    IS(beneath_parent(b, span_of("a/b/c/x"), &name) == fd,
		    "the folder stays open") &&
		    IS(is_same_folder(beneath_dir(b, span_of("")), top),
		    "an empty path is the root");
	}
	beneath_free(b);
	beneath_free(NULL);
	report(ok && IS(open_descriptors() == before, "descriptors"),
	    "folders are made, found, and kept open no longer than that");
}

static bool
refuses(struct beneath *b, const char *path, int error)
{
	const char *name;
	bool ok;

	errno = 0;
	ok = IS(beneath_parent(b, span_of(path), &name) == -1, path) &&
	    IS(errno == error, path);
	errno = 0;
	return ok && IS(beneath_parent_made(b, span_of(path), 0755,
	    &name) == -1, path) && IS(errno == error, path);
}

static void
test_refused(void)
{
	static const char *const bad[] = { "", "/", "/a", "..", "a/../b",
	    "a//b", "a/", "./a", "a/." };
	struct beneath *b = beneath_open(top);
	bool ok = b != NULL;
	size_t i;

	for (i = 0; i < COUNT(bad) && ok; i++)
		ok = refuses(b, bad[i], EINVAL) && (*bad[i] == '\0' ||
		    IS(beneath_dir(b, span_of(bad[i])) == -1, bad[i]));
	make_file(top, "file");
	if (ok)
		ok = refuses(b, "file/x", ENOTDIR) &&
		    IS(beneath_dir(b, span_of("file")) == -1, "file") &&
		    IS(errno == ENOTDIR, "file") &&
		    IS(beneath_dir(b, span_of("none/x")) == -1, "none") &&
		    IS(errno == ENOENT, "none") &&
		    leads_to(b, "file", "");
	beneath_free(b);
	report(ok, "paths that are refused, files and nothing on the way");
}

/* a/b/c/d/e where the part at position is a link to a good folder */
static bool
test_link_at(size_t position)
{
	static const char *const parts[] = { "a", "b", "c", "d", "e" };
	struct beneath *b;
	const char *name;
	int dir = dup(top), next, got, error;
	bool ok;
	size_t i;

	for (i = 0; i < COUNT(parts); i++) {
		make_dir(dir, i == position ? "real" : parts[i]);
		if (i == position)
			make_link("real", dir, parts[i]);
		next = open_dir(dir, parts[i]);
		close(dir);
		dir = next;
	}
	make_file(dir, "f");
	close(dir);
	if ((b = beneath_open(top)) == NULL)
		fail("memory");
	got = beneath_parent(b, span_of("a/b/c/d/e/f"), &name);
	error = errno;
	ok = IS(got == -1, parts[position]) &&
	    IS(error == ELOOP || error == ENOTDIR, parts[position]) &&
	    IS(beneath_dir(b, span_of("a/b/c/d/e")) == -1, parts[position]) &&
	    IS(beneath_parent_made(b, span_of("a/b/c/d/e/g/f"), 0755,
	    &name) == -1, parts[position]);
	/* Up to the link it is a way like any other. */
	got = beneath_parent(b, (struct span){ "a/b/c/d/e", 2 * position + 1 },
	    &name);
	ok = ok && IS(got != -1, "the link itself") &&
	    IS(is_there(got, name), "the link itself");
	beneath_free(b);
	return IS(beneath_remove_tree(top, "a") == 0, "a") &&
	    IS(beneath_remove_tree(top, "real") == 0, "real") && ok;
}

static void
test_links(void)
{
	bool ok = true;
	size_t i;

	for (i = 0; i < 5; i++)
		ok &= test_link_at(i);
	report(ok, "a link in any position is refused");
}

static void
test_forget(void)
{
	struct beneath *b = beneath_open(top);
	bool ok = b != NULL;
	const char *name;
	int old;

	if (!ok)
		fail("memory");
	ok = IS(beneath_parent_made(b, span_of("a/b/f"), 0755, &name) != -1,
	    "made");
	old = open_dir(top, "a/b");
	if (renameat(top, "a", top, "gone") == -1)
		fail("rename");
	ok = ok && IS(is_same_folder(beneath_parent(b, span_of("a/b/f"),
	    &name), old), "still open");
	beneath_forget(b, span_of("a/b/c"));
	beneath_forget(b, span_of("b"));
	ok = ok && IS(beneath_parent(b, span_of("a/b/f"), &name) != -1,
	    "others were forgotten");
	beneath_forget(b, span_of("a"));
	ok = ok && refuses(b, "gone/b/../x", EINVAL) &&
	    IS(beneath_parent(b, span_of("a/b/f"), &name) == -1, "a") &&
	    leads_to(b, "gone/b/f", "gone/b");
	beneath_forget(b, span_of(""));
	close(old);
	beneath_free(b);
	report(ok, "what was forgotten is looked up again");
}

/* Made, found and removed. */
static bool
long_way(size_t count, size_t len)
{
	struct beneath *b = beneath_open(top);
	struct buf path = { 0 };
	const char *name;
	int dir;
	bool ok;

	long_path(&path, count, len);
	if (b == NULL)
		fail("memory");
	dir = beneath_parent_made(b, buf_span(&path), 0755, &name);
	ok = IS(dir != -1, "made");
	if (ok)
		make_file(dir, name);
	beneath_forget(b, span_of(""));
	dir = ok ? beneath_parent(b, buf_span(&path), &name) : -1;
	ok = ok && IS(dir != -1, "found") && IS(is_there(dir, name), "found");
	beneath_free(b);
	long_path(&path, 1, len);
	buf_add_char(&path, '\0');
	ok = IS(beneath_remove_tree(top, path.data) == 0, "removed") && ok &&
	    IS(!is_there(top, path.data), "removed");
	buf_free(&path);
	return ok;
}

static void
test_long(void)
{
	struct buf path = { 0 };
	struct beneath *b = beneath_open(top);
	const char *name;
	bool ok;

	ok = b != NULL && long_way(17, 250) && long_way(64, 255) &&
	    long_way(300, 2) && long_way(BENEATH_DEPTH_MAX, 1);
	long_path(&path, BENEATH_DEPTH_MAX + 1, 1);
	ok = ok && IS(beneath_parent(b, buf_span(&path), &name) == -1,
	    "too deep") && IS(errno == EINVAL, "too deep");
	beneath_free(b);
	buf_free(&path);
	report(ok, "paths of 4,266 and 16,383 bytes, of 300 and 512 levels");
}

/* --- removing --- */

static bool
removed(const char *name)
{
	errno = 0;
	return IS(beneath_remove_tree(top, name) == 0, name) &&
	    IS(!is_there(top, name), name);
}

/* A folder beside it that must stay as it is. */
static void
make_outside(void)
{
	int dir;

	make_dir(top, "outside");
	dir = open_dir(top, "outside");
	make_file(dir, "f");
	make_dir(dir, "d");
	if (fchmodat(dir, "d", 0, 0) == -1 || fchmod(dir, 0500) == -1)
		fail("chmod");
	close(dir);
}

static bool
outside_is_whole(void)
{
	struct stat dir, d;

	return IS(fstatat(top, "outside", &dir, 0) == 0, "outside") &&
	    IS((dir.st_mode & 0777) == 0500, "outside") &&
	    IS(entries(top, "outside") == 2, "outside") &&
	    IS(is_there(top, "outside/f"), "outside/f") &&
	    IS(fstatat(top, "outside/d", &d, 0) == 0, "outside/d") &&
	    IS((d.st_mode & 0777) == 0, "outside/d");
}

/* Every kind of entry, and every kind of link. */
static void
make_zoo(const char *name)
{
	int dir;

	make_dir(top, name);
	dir = open_dir(top, name);
	make_file(dir, "f");
	make_file(dir, "-rf");
	make_file(dir, "\n\xff* ");
	make_dir(dir, "empty");
	make_dir(dir, "d");
	make_file(dir, "d/f");
	make_link("../outside", dir, "link");
	make_link("../../outside/d", dir, "d/link");
	make_link(".", dir, "self");
	make_link("nowhere", dir, "broken");
	make_link("..", dir, "d/up");
	if (mkfifoat(dir, "fifo", 0600) == -1 ||
	    linkat(top, "outside/f", dir, "hard", 0) == -1 ||
	    fchmodat(dir, "f", 0, 0) == -1)
		fail(name);
	close(dir);
}

static void
test_remove(void)
{
	size_t before = open_descriptors();
	bool ok;

	make_outside();
	make_zoo("zoo");
	make_file(top, "file");
	make_dir(top, "empty");
	make_link("outside", top, "link");
	ok = removed("zoo") && removed("file") && removed("empty") &&
	    removed("link") && removed("nothing") && outside_is_whole() &&
	    IS(open_descriptors() == before, "descriptors");
	report(ok, "a tree of all there is, a file, a link, nothing");
}

/* Runs it in a process of its own: its result is the exit status. */
static int
in_child(int (*run)(void))
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == -1)
		fail("fork");
	if (pid == 0) {
		status = run();
		fflush(stdout);
		_exit(status);
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int
remove_closed(void)
{
	static const mode_t modes[] = { 0, 0100, 0200, 0400, 0500, 0077 };
	char name[8];
	size_t i;
	int dir;

	if (geteuid() == 0 && (setgid(NOBODY) == -1 || setuid(NOBODY) == -1))
		return 77;
	make_dir(top, "closed");
	dir = open_dir(top, "closed");
	for (i = 0; i < COUNT(modes); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		make_dir(dir, name);
		strcat(name, "/d");
		make_dir(dir, name);
		strcat(name, "/f");
		make_file(dir, name);
		name[3] = '\0';
		if (fchmodat(dir, name, modes[i], 0) == -1)
			fail(name);
		name[1] = '\0';
		if (fchmodat(dir, name, modes[i], 0) == -1)
			fail(name);
	}
	if (fchmod(dir, 0) == -1)
		fail("chmod");
	close(dir);
	return removed("closed") ? 0 : 1;
}

static int
remove_closed_without_proc(void)
{
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) == -1)
		return 77;
	if (syscall(452, AT_FDCWD, ".", 0755, 0) == -1 && errno == ENOSYS)
		return 77;	/* a kernel without fchmodat2 */
	return remove_closed();
}

static void
report_child(int status, const char *name)
{
	if (status == 77)
		skip(name, "needs root, or a newer kernel");
	else
		report(status == 0, name);
}

static void
test_closed(void)
{
	if (fchmod(top, 0777) == -1)
		fail("chmod");
	report_child(in_child(remove_closed), "folders without permissions");
	report_child(in_child(remove_closed_without_proc),
	    "folders without permissions, and there is no /proc");
}

static int
remove_mounted(void)
{
	struct stat st;

	make_dir(top, "tree");
	make_dir(top, "tree/m");
	if (fchdir(top) == -1 || unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", "tree/m", "tmpfs", 0, NULL) == -1)
		return 77;
	/* The descriptor from before does not lead to the mount. */
	close(top);
	top = open_dir(AT_FDCWD, ".");
	make_file(top, "tree/m/f");
	errno = 0;
	return IS(beneath_remove_tree(top, "tree") == -1, "tree") &&
	    IS(errno == EBUSY, "tree") &&
	    IS(beneath_remove_tree(open_dir(top, "tree"), "m") == -1, "m") &&
	    IS(errno == EBUSY, "m") &&
	    IS(fstatat(top, "tree/m/f", &st, 0) == 0, "file") ? 0 : 1;
}

/* Two folders in each of depth levels, and files and links in all. */
static void
make_deep(const char *name, size_t depth)
{
	int dir, next;

	make_dir(top, name);
	dir = open_dir(top, name);
	for (; depth > 0; depth--) {
		make_dir(dir, "x");
		make_dir(dir, "y");
		make_file(dir, "y/f");
		make_link("..", dir, "l");
		next = open_dir(dir, "x");
		close(dir);
		dir = next;
	}
	close(dir);
}

static void
test_deep(void)
{
	struct rlimit old, few = { 64, 64 };
	size_t before = open_descriptors();
	bool ok;

	make_deep("deep", 3000);
	if (getrlimit(RLIMIT_NOFILE, &old) == -1)
		fail("getrlimit");
	few.rlim_max = old.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &few) == -1)
		fail("setrlimit");
	ok = removed("deep");
	if (setrlimit(RLIMIT_NOFILE, &old) == -1)
		fail("setrlimit");
	report(ok && IS(open_descriptors() == before, "descriptors"),
	    "a tree of 3,000 levels, with 64 descriptors");
}

/* Many branches, each deeper than what stays open. */
static void
test_wide(void)
{
	char name[24];
	int i;

	make_dir(top, "wide");
	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "wide/%d", i);
		make_deep(name, 40);
	}
	report(removed("wide"), "40 branches of 40 levels");
}

static int
remove_forbidden(void)
{
	size_t before;
	bool ok;

	if (geteuid() != 0 || setgid(NOBODY) == -1 || setuid(NOBODY) == -1)
		return 77;
	before = open_descriptors();
	errno = 0;
	ok = IS(beneath_remove_tree(top, "tree") == -1, "sticky") &&
	    IS(errno == EPERM, "sticky") &&
	    IS(beneath_remove_tree(-1, "tree") == -1, "no folder") &&
	    IS(errno == EBADF, "no folder");
	return ok && IS(open_descriptors() == before, "descriptors") ? 0 : 1;
}

/* What another user may not remove is 50 levels below. */
static void
test_forbidden(void)
{
	struct beneath *b = beneath_open(top);
	struct buf path = { 0 };
	const char *name;
	int dir, status;

	if (b == NULL)
		fail("memory");
	buf_add_str(&path, "tree/");
	for (status = 0; status < 50; status++)
		buf_add_str(&path, "d/");
	buf_add_str(&path, "f");
	umask(0);
	dir = beneath_parent_made(b, buf_span(&path), 01777, &name);
	umask(022);
	if (dir == -1 || fchmod(top, 0777) == -1)
		fail("made");
	make_file(dir, name);
	status = in_child(remove_forbidden);
	if (status == 0 && !is_there(dir, name))
		status = 1;
	report_child(status, "an error is said, and nothing stays open");
	beneath_free(b);
	buf_free(&path);
}

/* --- against others --- */

static atomic_bool stop;
static atomic_ulong turns;

static void
swap_once(void)
{
	if (syscall(SYS_renameat2, top, "a/b", top, "l",
	    2 /* RENAME_EXCHANGE */) == 0)
		atomic_fetch_add(&turns, 1);
}

static void *
swap(void *unused)
{
	while (!atomic_load(&stop))
		swap_once();
	return unused;
}

static void *
fill(void *unused)
{
	char name[32];
	unsigned long n;
	int fd;

	for (n = 0; !atomic_load(&stop); n++) {
		snprintf(name, sizeof(name), "tree/x/%lu", n);
		fd = openat(top, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd == -1) {
			mkdirat(top, "tree", 0755);
			mkdirat(top, "tree/x", 0755);
			continue;
		}
		close(fd);
		atomic_fetch_add(&turns, 1);
	}
	return unused;
}

static void
against(void *(*other)(void *), pthread_t *thread)
{
	atomic_store(&stop, false);
	atomic_store(&turns, 0);
	if (pthread_create(thread, NULL, other, NULL) != 0)
		fail("pthread_create");
}

static void
against_end(pthread_t thread)
{
	atomic_store(&stop, true);
	if (pthread_join(thread, NULL) != 0)
		fail("pthread_join");
}

/* A folder on the way is now a folder, now a link to the outside. */
static void
test_swapped_way(void)
{
	unsigned long found = 0, refused = 0;
	struct beneath *b = beneath_open(top);
	const char *name;
	pthread_t thread;
	bool ok = true;
	int dir, fd;

	if (b == NULL)
		fail("memory");
	make_dir(top, "a");
	make_dir(top, "a/b");
	make_dir(top, "a/b/d");
	make_dir(top, "outside");
	make_dir(top, "outside/d");
	make_link("../outside", top, "l");
	against(swap, &thread);
	while (ok && (found == 0 || refused == 0 ||
	    atomic_load(&turns) < SWAPS)) {
		if (atomic_load(&turns) > 10 * SWAPS)
			ok = IS(found > 0 && refused > 0, "both");
		beneath_forget(b, span_of(""));
		dir = beneath_parent_made(b, span_of("a/b/d/f"), 0755, &name);
		if (dir == -1) {
			ok = IS(errno == ENOTDIR || errno == ELOOP, "a/b/d/f");
			refused++;
			continue;
		}
		found++;
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ok = IS(fd != -1, "create");
		close(fd);
		ok = ok && IS(unlinkat(dir, name, 0) == 0, "remove");
		ok = ok && IS(entries(top, "outside/d") == 0, "outside");
	}
	against_end(thread);
	printf("# %lu swaps, %lu found, %lu refused\n", atomic_load(&turns),
	    found, refused);
	beneath_free(b);
	report(ok, "a folder on the way is swapped for a link, 10,000 times");
}

/* A link and a folder, whichever of the two names each has now. */
static void
make_swapped(void)
{
	mkdirat(top, "a/b", 0755);
	mkdirat(top, "a/b/d", 0);
	mkdirat(top, "a/b/d/e", 0);
	if (!is_there(top, "l"))
		make_link("../outside", top, "l");
}

static void
test_swapped_tree(void)
{
	unsigned long rounds = 0;
	pthread_t thread;
	bool ok = true;

	make_outside();
	make_dir(top, "a");
	make_swapped();
	against(swap, &thread);
	while (ok && atomic_load(&turns) < SWAPS) {
		make_swapped();
		ok = IS(beneath_remove_tree(top, "a/b") == 0, "a/b") &&
		    outside_is_whole();
		rounds++;
	}
	against_end(thread);
	printf("# %lu swaps, %lu rounds\n", atomic_load(&turns), rounds);
	report(ok, "a folder that is removed is swapped for a link");
}

/* The same between "there is something in it" and the next look. */
static void
test_swapped_always(void)
{
	unsigned long rounds;
	bool ok = true;

	make_outside();
	make_dir(top, "a");
	atomic_store(&turns, 0);
	for (rounds = 0; rounds < 100 && ok; rounds++) {
		make_swapped();
		when_not_empty = swap_once;
		ok = IS(beneath_remove_tree(top, "a/b") == 0 ||
		    errno == ENOTEMPTY, "a/b");
		when_not_empty = NULL;
		ok = ok && outside_is_whole();
	}
	report(ok && IS(atomic_load(&turns) >= rounds, "swaps"),
	    "a folder is swapped for a link whenever it is to be opened");
}

static void
put_something(int dir, const char *name)
{
	int in = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (in == -1)
		return;
	close(openat(in, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	close(in);
}

static void
test_filled_always(void)
{
	bool ok;

	make_dir(top, "tree");
	make_dir(top, "tree/x");
	before_rmdir = put_something;
	errno = 0;
	ok = IS(beneath_remove_tree(top, "tree") == -1, "tree") &&
	    IS(errno == ENOTEMPTY, "tree");
	before_rmdir = NULL;
	report(removed("tree") && ok,
	    "somebody fills a folder whenever it is empty: ENOTEMPTY");
}

static void
test_filled(void)
{
	pthread_t thread;
	bool ok = true;
	unsigned long whole = 0;
	int i, busy = 0;

	for (i = 0; i < 20 && ok; i++) {
		against(fill, &thread);
		while (atomic_load(&turns) == 0)
			sched_yield();
		errno = 0;
		if (beneath_remove_tree(top, "tree") == -1) {
			busy++;
			ok = IS(errno == ENOTEMPTY, "tree");
		}
		against_end(thread);
		ok = removed("tree") && ok;
		whole += atomic_load(&turns);
	}
	printf("# %lu files, %d of %d gave up\n", whole, busy, i);
	report(ok, "somebody fills what is removed: gone, or ENOTEMPTY");
}

/* --- */

static void
in_folder(void (*test)(void))
{
	char name[] = "beneath.XXXXXX";

	if (mkdtemp(name) == NULL)
		fail(name);
	top = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top == -1 || fchmod(top, 0755) == -1)
		fail(name);
	test();
	close(top);
	if (beneath_remove_tree(AT_FDCWD, name) == -1)
		fail(name);
}

static void
test_mounted(void)
{
	report_child(in_child(remove_mounted), "a mount in it is left whole");
}

int
main(void)
{
	static void (*const all[])(void) = { test_way, test_refused,
	    test_links, test_forget, test_long, test_remove, test_closed,
	    test_mounted, test_deep, test_wide, test_forbidden, test_swapped_way,
	    test_swapped_tree, test_swapped_always, test_filled,
	    test_filled_always };
	size_t i;

	srand(1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	test_check();
	test_check_limits();
	test_compare();
	test_parts();
	for (i = 0; i < COUNT(all); i++)
		in_folder(all[i]);
	printf("1..%d\n", tests);
	return failures == 0 ? 0 : 1;
}
