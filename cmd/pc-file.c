/*
 * pc-file - one file or folder at a time, where there is no shell.
 *
 * Guarantees: a file is replaced whole or not at all, never written to and
 * never through a link; nothing that is removed is reached through one.
 */
#include <sys/stat.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base64.h"
#include "beneath.h"
#include "cli.h"
#include "io.h"
#include "json.h"
#include "put.h"
#include "sha256.h"

#define BLOCK		(128 * 1024)
#define LINE_BYTES	57		/* a line of 76 characters */
#define MODE_MAX	07777

static const char help[] =
"usage: pc-file put [-p] [--mode OCTAL] [--sha256 HEX] [--base64] [--sync]\n"
"               PATH\n"
"       pc-file get [--offset SIZE] [--length SIZE] [--base64] PATH\n"
"       pc-file list [-0 | --json] DIR\n"
"       pc-file mkdir [-p] [--mode OCTAL] DIR\n"
"       pc-file rename [-n] OLD NEW\n"
"       pc-file remove [-f] [-r] PATH...\n"
"       pc-file sha256 PATH\n"
"One file or folder at a time, where there is no shell.\n"
"  -0, --null             names end with NUL\n"
"  -f, --force            no word about what is not there\n"
"  -h, --help             this text\n"
"  -n, --no-replace       not over something that is there: exit 1\n"
"  -p, --parents          make the folders above; mkdir: it may be there\n"
"  -r, --recursive        folders and all that is in them\n"
"  -V, --version\n"
"      --base64           what is read, or written, is base64\n"
"      --json             a line of JSON for each entry\n"
"      --length SIZE      at most so many bytes\n"
"      --mode OCTAL       permissions, as they are\n"
"      --offset SIZE      from this byte on\n"
"      --sha256 HEX       what the content must have\n"
"      --sync             on the disk before it says so\n"
"Exit: 0 done; 1 not there, already there, or not empty; 100 bad usage, bad\n"
"input, no such thing; 111 full disk, closed output, try again.\n";

enum {
	OPT_BASE64 = 256, OPT_JSON, OPT_LENGTH, OPT_MODE, OPT_OFFSET,
	OPT_SHA256, OPT_SYNC
};

static const struct option options[] = {
	{ "base64", no_argument, NULL, OPT_BASE64 },
	{ "force", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "length", required_argument, NULL, OPT_LENGTH },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "no-replace", no_argument, NULL, 'n' },
	{ "null", no_argument, NULL, '0' },
	{ "offset", required_argument, NULL, OPT_OFFSET },
	{ "parents", no_argument, NULL, 'p' },
	{ "recursive", no_argument, NULL, 'r' },
	{ "sha256", required_argument, NULL, OPT_SHA256 },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

struct args {
	char **operands;
	size_t count;
	mode_t mode, umask;
	uint64_t offset, length;
	uint8_t sha256[SHA256_SIZE];
	bool has_mode, has_sha256, no_stdin;
	bool base64, force, json, no_replace, null, parents, recursive, sync;
};

/* --- failing --- */

static int
status_of(int error)
{
	switch (error) {
	case ENOENT: case EEXIST: case ENOTEMPTY:
		return EXIT_NO;
	case EACCES: case EFBIG: case EINVAL: case EISDIR: case ELOOP:
	case ENAMETOOLONG: case ENOTDIR: case EPERM: case EROFS: case EXDEV:
		return EXIT_NEVER;
	default:
		return EXIT_LATER;
	}
}

static int
warn_errno(const char *object)
{
	int status = status_of(errno);

	cli_warn(object, strerror(errno));
	return status;
}

static _Noreturn void
fail_errno(const char *object)
{
	exit(warn_errno(object));
}

static _Noreturn void
fail_memory(void)
{
	cli_fail(EXIT_LATER, NULL, strerror(ENOMEM));
}

/* --- paths --- */

/* A path as the caller gave it, which may well go through links. */
struct place {
	const char *path;
	int dir;			/* of the folder its last name is in */
	char name[NAME_MAX + 1];
	bool slash;			/* the path ends in one */
};

/* A path that ends in no name is none that can be made, moved or removed. */
static int
place_split(struct place *at, const char *path, struct buf *parent)
{
	struct span s = span_of(path), name;

	*at = (struct place){ .path = path, .dir = AT_FDCWD };
	while (s.n > 1 && s.p[s.n - 1] == '/') {
		at->slash = true;
		s.n--;
	}
	name = path_name(s);
	if (name.n == 0 || span_is(name, ".") || span_is(name, "..")) {
		errno = EINVAL;
		return -1;
	}
	if (name.n >= sizeof(at->name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(at->name, name.p, name.n);
	buf_add(parent, s.p, s.n - name.n);
	buf_add_char(parent, '\0');
	if (buf_failed(parent))
		fail_memory();
	return 0;
}

/* The folders that are missing; who makes them can always go on in them. */
static int
make_folders(char *path, mode_t mask)
{
	mode_t mode = (0777 & ~mask) | 0300;
	char *p = path, *end;
	bool last;

	for (;;) {
		p += strspn(p, "/");
		end = p + strcspn(p, "/");
		if (end == p)
			return 0;
		last = *end == '\0';
		*end = '\0';
		if (mkdir(path, mode) == -1 && errno != EEXIST)
			return -1;
		if (last)
			return 0;
		*end = '/';
		p = end;
	}
}

static int
place_open(struct place *at, const char *path, const struct args *a)
{
	struct buf parent = { 0 };
	int got = place_split(at, path, &parent);

	if (got == 0 && parent.data[0] != '\0') {
		if (a->parents)
			got = make_folders(parent.data, a->umask);
		if (got == 0)
			at->dir = open(parent.data,
			    O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (at->dir == -1)
			got = -1;
	}
	buf_free(&parent);
	return got;
}

/* A path that ends in a slash is for a folder, which what is. */
static int
slash_check(const struct place *at, const struct place *what)
{
	struct stat st;

	if (!at->slash)
		return 0;
	if (fstatat(what->dir, what->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return -1;
	}
	return 0;
}

static void
place_close(const struct place *at)
{
	if (at->dir != AT_FDCWD)
		io_close(at->dir);
}

/* --- put --- */

static struct put put;

static void
give_up(int signo)
{
	put_abort(&put);
	raise(signo);		/* SA_RESETHAND: this time it ends us */
}

static void
catch_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction sa = { .sa_handler = give_up,
	    .sa_flags = (int)SA_RESETHAND }, old;
	size_t i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
	signal(SIGXFSZ, SIG_IGN);	/* EFBIG will do */
}

/* What is at the place.  Only a file or a link may be replaced. */
static bool
find_old(const struct place *at, struct stat *st)
{
	if (at->slash)
		cli_fail(EXIT_NEVER, at->path, "not the name of a file");
	if (fstatat(at->dir, at->name, st, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT)
			fail_errno(at->path);
		return false;
	}
	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode))
		cli_fail(EXIT_NEVER, at->path, "not a regular file");
	return S_ISREG(st->st_mode);
}

/*
 * The file that is there has the content already, and then gets the mode.
 * One that cannot be read is different.
 */
static bool
is_there(const struct place *at, const struct args *a)
{
	int fd = openat(at->dir, at->name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	uint8_t sum[SHA256_SIZE];
	struct stat st;
	bool same;

	if (fd == -1)
		return false;
	same = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    sha256_fd(fd, sum) == 0 && memcmp(sum, a->sha256, sizeof(sum)) == 0;
	if (same && a->has_mode && (st.st_mode & MODE_MAX) != a->mode &&
	    fchmod(fd, a->mode) == -1)
		fail_errno(at->path);
	if (same && a->sync && fsync(fd) == -1)
		fail_errno(at->path);
	io_close(fd);
	return same;
}

/* Base64 as it comes: four characters are three bytes, lines may end. */
struct decoder {
	struct buf text;	/* what is no whole four yet */
	bool padded;		/* that was the end of it */
};

static void
add_without_line_ends(struct buf *out, struct span in)
{
	size_t start = 0, i;

	for (i = 0; i < in.n; i++)
		if (in.p[i] == '\n' || in.p[i] == '\r') {
			buf_add(out, in.p + start, i - start);
			start = i + 1;
		}
	if (start < in.n)
		buf_add(out, in.p + start, in.n - start);
	if (buf_failed(out))
		fail_memory();
}

static int
decode(struct decoder *d, struct span in, bool last, struct buf *out)
{
	struct span text;

	add_without_line_ends(&d->text, in);
	text = buf_span(&d->text);
	if (!last)
		text.n -= text.n % 4;
	if (text.n == 0)
		return 0;
	if (d->padded || base64_decode(out, text) == -1) {
		if (buf_failed(out))
			fail_memory();
		return -1;
	}
	d->padded = text.p[text.n - 1] == '=';
	buf_consume(&d->text, text.n);
	return 0;
}

static _Noreturn void
put_fail(int status, const char *object, const char *reason)
{
	put_abort(&put);
	cli_fail(status, object, reason);
}

static _Noreturn void
put_fail_errno(const char *object)
{
	put_fail(status_of(errno), object, strerror(errno));
}

/* A piece of the content, as it came; the last is empty. */
static void
put_piece(const struct place *at, const struct args *a, struct decoder *d,
    struct span piece, struct sha256 *sum)
{
	struct buf bytes = { 0 };

	if (a->base64) {
		if (decode(d, piece, piece.n == 0, &bytes) == -1)
			put_fail(EXIT_NEVER, "stdin", "not base64");
		piece = buf_span(&bytes);
	}
	sha256_add(sum, piece.p, piece.n);
	if (piece.n > 0 &&
	    io_write_all(put_fd(&put), piece.p, piece.n) == -1)
		put_fail_errno(at->path);
	buf_free(&bytes);
}

static void
put_content(const struct place *at, const struct args *a)
{
	struct decoder d = { 0 };
	struct buf in = { 0 };
	struct sha256 sum;
	uint8_t got[SHA256_SIZE];
	ssize_t n;

	sha256_init(&sum);
	do {
		in.len = 0;
		n = io_read_some(STDIN_FILENO, &in, BLOCK);
		if (n == -1)
			put_fail_errno("stdin");
		put_piece(at, a, &d, buf_span(&in), &sum);
	} while (n > 0);
	sha256_end(&sum, got);
	if (a->has_sha256 && memcmp(got, a->sha256, sizeof(got)) != 0)
		put_fail(EXIT_NEVER, at->path, "what came has another SHA-256");
	buf_free(&d.text);
	buf_free(&in);
}

static int
run_put(const struct args *a)
{
	struct place at;
	struct stat st;
	mode_t mode = 0644 & ~a->umask;

	if (place_open(&at, a->operands[0], a) == -1)
		fail_errno(a->operands[0]);
	if (find_old(&at, &st)) {
		mode = st.st_mode & 0777;
		if (a->has_sha256 && is_there(&at, a)) {
			cli_out(span_of("{\"uploaded\":false}\n"));
			return EXIT_YES;
		}
	}
	if (a->no_stdin)
		cli_fail(EXIT_LATER, "stdin", strerror(EBADF));
	catch_signals();
	if (put_open(&put, at.dir, at.name, a->has_mode ? a->mode : mode) == -1)
		fail_errno(at.path);
	put_content(&at, a);
	if (put_commit(&put, a->sync) == -1)
		fail_errno(at.path);
	place_close(&at);
	cli_out(span_of("{\"uploaded\":true}\n"));
	return EXIT_YES;
}

/* --- get, sha256 --- */

/* A regular file, wherever links lead; nothing else is even opened. */
static int
open_file(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) == -1)
		fail_errno(path);
	if (!S_ISREG(st.st_mode))
		cli_fail(EXIT_NEVER, path, "not a regular file");
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1)
		fail_errno(path);
	if (!S_ISREG(st.st_mode))
		cli_fail(EXIT_NEVER, path, "not a regular file");
	return fd;
}

/* A whole number of lines, but for the last piece. */
static void
out_base64(struct span bytes)
{
	struct buf text = { 0 };
	size_t at, n;

	for (at = 0; at < bytes.n; at += n) {
		n = bytes.n - at < LINE_BYTES ? bytes.n - at : LINE_BYTES;
		base64_encode(&text, (struct span){ bytes.p + at, n });
		buf_add_char(&text, '\n');
	}
	if (buf_failed(&text))
		fail_memory();
	cli_out(buf_span(&text));
	buf_free(&text);
}

static int
run_get(const struct args *a)
{
	static char block[BLOCK / LINE_BYTES * LINE_BYTES];
	const char *path = a->operands[0];
	int fd = open_file(path);
	uint64_t left = a->length;
	size_t want;
	ssize_t n = 0;

	if (lseek(fd, (off_t)a->offset, SEEK_SET) == -1) {
		if (errno != EINVAL)
			fail_errno(path);
		left = 0;	/* after the end of any file */
	}
	while (left > 0) {
		want = left < sizeof(block) ? (size_t)left : sizeof(block);
		n = io_read_full(fd, block, want);
		if (n == -1)
			fail_errno(path);
		if (n == 0)
			break;
		if (a->base64)
			out_base64((struct span){ block, (size_t)n });
		else
			cli_out((struct span){ block, (size_t)n });
		left -= (size_t)n;
	}
	io_close(fd);
	return EXIT_YES;
}

static int
run_sha256(const struct args *a)
{
	char text[SHA256_HEX_SIZE];
	uint8_t sum[SHA256_SIZE];
	int fd = open_file(a->operands[0]);

	if (sha256_fd(fd, sum) == -1)
		fail_errno(a->operands[0]);
	io_close(fd);
	sha256_hex(sum, text);
	cli_out(span_of("{\"sha256\":\""));
	cli_out((struct span){ text, sizeof(text) - 1 });
	cli_out(span_of("\"}\n"));
	return EXIT_YES;
}

/* --- list --- */

struct names {
	char **list;
	size_t count, cap;
};

static void
names_add(struct names *n, const char *name)
{
	char **more;

	if (n->count == n->cap) {
		n->cap = n->cap == 0 ? 64 : 2 * n->cap;
		more = reallocarray(n->list, n->cap, sizeof(*more));
		if (more == NULL)
			fail_memory();
		n->list = more;
	}
	if ((n->list[n->count++] = strdup(name)) == NULL)
		fail_memory();
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
names_read(struct names *n, DIR *dir, const char *path)
{
	const struct dirent *e;

	while (errno = 0, (e = readdir(dir)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			names_add(n, e->d_name);
	if (errno != 0)
		fail_errno(path);
	if (n->count > 0)
		qsort(n->list, n->count, sizeof(*n->list), compare_names);
}

/* UTF-8 without the controls U+0080 to U+009F. */
static bool
is_printable(const char *name)
{
	const unsigned char *p;

	for (p = (const unsigned char *)name; *p != '\0'; p++)
		if (*p == 0xc2 && p[1] < 0xa0)
			return false;
	return utf8_is_valid(span_of(name));
}

/* For a terminal: no control characters, and no way to write one. */
static void
add_shown(struct buf *out, const char *name)
{
	static const char hex[] = "0123456789abcdef";
	bool high = is_printable(name);
	unsigned char c;

	for (; (c = (unsigned char)*name) != '\0'; name++) {
		if (c >= 0x20 && c != 0x7f && c != '\\' &&
		    (c < 0x80 || high)) {
			buf_add_char(out, (char)c);
			continue;
		}
		buf_add_str(out, "\\x");
		buf_add_char(out, hex[c >> 4]);
		buf_add_char(out, hex[c & 15]);
	}
}

static const char *
type_name(mode_t mode)
{
	return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "dir" :
	    S_ISLNK(mode) ? "link" : "other";
}

static void
add_json(struct buf *out, const char *name, const struct stat *st)
{
	struct span s = span_of(name);

	buf_add_char(out, '{');
	if (utf8_is_valid(s)) {
		json_put_key(out, "name");
		json_put_string(out, s);
	} else {
		json_put_key(out, "nameBase64");
		buf_add_char(out, '"');
		base64_encode(out, s);
		buf_add_char(out, '"');
	}
	json_put_key(out, "type");
	json_put_string(out, span_of(type_name(st->st_mode)));
	json_put_key(out, "mode");
	buf_add_int(out, st->st_mode & MODE_MAX);
	json_put_key(out, "size");
	buf_add_int(out, S_ISREG(st->st_mode) ? st->st_size : 0);
	json_put_key(out, "mtimeNs");
	buf_add_char(out, '"');
	buf_add_int(out, (int64_t)st->st_mtim.tv_sec * 1000000000 +
	    st->st_mtim.tv_nsec);
	buf_add_str(out, "\"}\n");
}

static void
list_one(struct buf *out, int dir, const char *name, const struct args *a)
{
	struct stat st;

	if (a->json) {
		/* What has gone since is not listed. */
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			add_json(out, name, &st);
		else if (errno != ENOENT)
			fail_errno(name);
	} else if (a->null) {
		buf_add(out, name, strlen(name) + 1);
	} else {
		add_shown(out, name);
		buf_add_char(out, '\n');
	}
	if (buf_failed(out))
		fail_memory();
}

static int
run_list(const struct args *a)
{
	const char *path = a->operands[0];
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct names n = { 0 };
	struct buf out = { 0 };
	size_t i;

	if (dir == NULL)
		fail_errno(path);
	names_read(&n, dir, path);
	for (i = 0; i < n.count; i++) {
		list_one(&out, fd, n.list[i], a);
		free(n.list[i]);
		if (out.len >= BLOCK) {
			cli_out(buf_span(&out));
			out.len = 0;
		}
	}
	cli_out(buf_span(&out));
	free(n.list);
	buf_free(&out);
	closedir(dir);
	return EXIT_YES;
}

/* --- mkdir, rename, remove --- */

/* Of the folder that was just made, and of nothing that took its place. */
static int
set_mode(const struct place *at, mode_t mode)
{
	int fd = openat(at->dir, at->name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), got;

	if (fd == -1)
		return -1;
	got = fchmod(fd, mode);
	io_close(fd);
	return got;
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int
run_mkdir(const struct args *a)
{
	const char *path = a->operands[0];
	struct place at;

	if (a->parents && is_folder(path))
		return EXIT_YES;
	if (place_open(&at, path, a) == -1)
		fail_errno(path);
	/* 0700: nobody else has been in it when it gets its mode. */
	if (mkdirat(at.dir, at.name, a->has_mode ? 0700 :
	    0777 & ~a->umask) == -1) {
		/* In the meantime somebody else made it. */
		if (errno == EEXIST && a->parents && is_folder(path))
			return EXIT_YES;
		fail_errno(path);
	}
	if (a->has_mode && set_mode(&at, a->mode) == -1)
		fail_errno(path);
	place_close(&at);
	return EXIT_YES;
}

/* Where the kernel has no such rename: each step is sure of its own. */
static int
rename_by_steps(const struct place *old, const struct place *new)
{
	struct stat st;
	int saved;

	if (fstatat(old->dir, old->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return linkat(old->dir, old->name, new->dir, new->name,
		    0) == -1 ? -1 : unlinkat(old->dir, old->name, 0);
	if (mkdirat(new->dir, new->name, 0700) == -1)
		return -1;
	if (renameat(old->dir, old->name, new->dir, new->name) == 0)
		return 0;
	saved = errno;
	unlinkat(new->dir, new->name, AT_REMOVEDIR);
	errno = saved;
	return -1;
}

static int
rename_place(const struct place *old, const struct place *new,
    bool no_replace)
{
	if (slash_check(old, old) == -1 || slash_check(new, old) == -1)
		return -1;
	if (!no_replace)
		return renameat(old->dir, old->name, new->dir, new->name);
	if (syscall(SYS_renameat2, old->dir, old->name, new->dir, new->name,
	    1 /* RENAME_NOREPLACE */) == 0)
		return 0;
	if (errno != ENOSYS && errno != EINVAL)
		return -1;
	return rename_by_steps(old, new);
}

static int
run_rename(const struct args *a)
{
	struct place old, new;

	if (place_open(&old, a->operands[0], a) == -1)
		fail_errno(a->operands[0]);
	if (place_open(&new, a->operands[1], a) == -1)
		fail_errno(a->operands[1]);
	if (rename_place(&old, &new, a->no_replace) == -1)
		fail_errno(errno == ENOENT ? old.path : new.path);
	place_close(&old);
	place_close(&new);
	return EXIT_YES;
}

static int
remove_place(const struct place *at, const struct args *a)
{
	struct stat st;

	if (slash_check(at, at) == -1 ||
	    fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!a->recursive)
		return unlinkat(at->dir, at->name,
		    S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	if (beneath_remove_tree(at->dir, at->name) == 0)
		return 0;
	/* Somebody fills it again as it is emptied: that may end. */
	if (errno == ENOTEMPTY)
		errno = EBUSY;
	return -1;
}

static int
remove_one(const char *path, const struct args *a)
{
	struct place at = { .dir = AT_FDCWD };
	int got = place_open(&at, path, a), status = EXIT_YES;

	if (got == 0)
		got = remove_place(&at, a);
	if (got == -1 && !(a->force && errno == ENOENT))
		status = warn_errno(path);
	place_close(&at);
	return status;
}

/* All of them, whatever becomes of one. */
static int
run_remove(const struct args *a)
{
	int status = EXIT_YES, got;
	size_t i;

	for (i = 0; i < a->count; i++) {
		got = remove_one(a->operands[i], a);
		if (got > status)
			status = got;
	}
	return status;
}

/* --- the command line --- */

struct command {
	const char *name;
	int (*run)(const struct args *a);
	size_t least, most;	/* operands */
	const char *usage;
	int options[8];		/* all but those for help */
};

static const struct command commands[] = {
	{ "get", run_get, 1, 1, "get takes one PATH",
	  { OPT_BASE64, OPT_LENGTH, OPT_OFFSET } },
	{ "list", run_list, 1, 1, "list takes one DIR", { '0', OPT_JSON } },
	{ "mkdir", run_mkdir, 1, 1, "mkdir takes one DIR", { 'p', OPT_MODE } },
	{ "put", run_put, 1, 1, "put takes one PATH",
	  { 'p', OPT_BASE64, OPT_MODE, OPT_SHA256, OPT_SYNC } },
	{ "remove", run_remove, 1, SIZE_MAX, "remove takes a PATH",
	  { 'f', 'r' } },
	{ "rename", run_rename, 2, 2, "rename takes OLD and NEW", { 'n' } },
	{ "sha256", run_sha256, 1, 1, "sha256 takes one PATH", { 0 } },
};

static const struct command none;

static const struct command *
find_command(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return &none;
}

static void
check_option(const struct command *c, int opt)
{
	struct buf name = { 0 };
	size_t i;

	for (i = 0; c->options[i] != 0; i++)
		if (c->options[i] == opt)
			return;
	for (i = 0; options[i].val != opt; i++)
		;
	buf_add_str(&name, "--");
	buf_add(&name, options[i].name, strlen(options[i].name) + 1);
	if (buf_failed(&name))
		fail_memory();
	cli_fail(EXIT_NEVER, name.data, "not an option of this command");
}

static mode_t
parse_mode(const char *arg)
{
	mode_t mode = 0;
	const char *p;

	for (p = arg; *p >= '0' && *p <= '7' && mode <= MODE_MAX; p++)
		mode = mode * 8 + (mode_t)(*p - '0');
	if (p == arg || *p != '\0' || mode > MODE_MAX)
		cli_fail(EXIT_NEVER, "--mode", "not octal permissions");
	return mode;
}

static void
parse_option(struct args *a, int opt)
{
	switch (opt) {
	case '0':
		a->null = true;
		break;
	case 'f':
		a->force = true;
		break;
	case 'n':
		a->no_replace = true;
		break;
	case 'p':
		a->parents = true;
		break;
	case 'r':
		a->recursive = true;
		break;
	case OPT_BASE64:
		a->base64 = true;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	case OPT_LENGTH:
		a->length = cli_size("--length", optarg);
		break;
	case OPT_MODE:
		a->mode = parse_mode(optarg);
		a->has_mode = true;
		break;
	case OPT_OFFSET:
		a->offset = cli_size("--offset", optarg);
		break;
	case OPT_SHA256:
		if (sha256_from_hex(span_of(optarg), a->sha256) == -1)
			cli_fail(EXIT_NEVER, "--sha256", "not 64 hex digits");
		a->has_sha256 = true;
		break;
	case OPT_SYNC:
		a->sync = true;
		break;
	}
}

/* Options of all commands together; the first operand is the command. */
static const struct command *
parse_line(struct args *a, int argc, char *argv[])
{
	const struct command *c = argc > 1 ? find_command(argv[1]) : &none;
	int opt;

	if (c != &none) {
		argv[1] = argv[0];	/* for getopt's own messages */
		argc--;
		argv++;
	}
	while ((opt = getopt_long(argc, argv, "0fhnprV", options, NULL)) != -1)
		switch (opt) {
		case 'h':
			cli_help(help);
		case 'V':
			cli_version();
		case '?':
			exit(EXIT_NEVER);
		default:
			check_option(c, opt);
			parse_option(a, opt);
		}
	if (c == &none)
		cli_usage("put, get, list, mkdir, rename, remove or sha256");
	a->operands = argv + optind;
	a->count = (size_t)(argc - optind);
	if (a->count < c->least || a->count > c->most)
		cli_usage(c->usage);
	if (a->json && a->null)
		cli_usage("--json and -0 do not go together");
	return c;
}

int
main(int argc, char *argv[])
{
	struct args a = { .length = UINT64_MAX,
	    .no_stdin = fcntl(STDIN_FILENO, F_GETFD) == -1 };

	cli_start("pc-file");
	a.umask = umask(0);	/* from here on all modes are exact */
	return parse_line(&a, argc, argv)->run(&a);
}
