/* pc-file get, sha256 and list: what reads. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64.h"
#include "cli.h"
#include "file.h"
#include "io.h"
#include "json.h"

#define BLOCK		(128 * 1024)
#define LINE_BYTES	57		/* a line of 76 characters */

/* A regular file, wherever links lead; nothing else is even opened. */
static int
open_file(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) == -1)
		file_fail(path);
	if (!S_ISREG(st.st_mode))
		cli_fail(EXIT_NEVER, path, "not a regular file");
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1)
		file_fail(path);
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
		file_fail_memory();
	cli_out_buf(&text);
	buf_free(&text);
}

int
file_get(const struct args *a)
{
	static char block[BLOCK / LINE_BYTES * LINE_BYTES];
	const char *path = a->operands[0];
	int fd = open_file(path);
	uint64_t left = a->length;
	size_t want;
	ssize_t n = 0;

	if (lseek(fd, (off_t)a->offset, SEEK_SET) == -1) {
		if (errno != EINVAL)
			file_fail(path);
		left = 0;	/* after the end of any file */
	}
	while (left > 0) {
		want = left < sizeof(block) ? (size_t)left : sizeof(block);
		n = io_read_full(fd, block, want);
		if (n == -1)
			file_fail(path);
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

int
file_sha256(const struct args *a)
{
	char text[SHA256_HEX_SIZE];
	uint8_t sum[SHA256_SIZE];
	int fd = open_file(a->operands[0]);

	if (sha256_fd(fd, sum) == -1)
		file_fail(a->operands[0]);
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
			file_fail_memory();
		n->list = more;
	}
	if ((n->list[n->count++] = strdup(name)) == NULL)
		file_fail_memory();
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
		file_fail(path);
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

/* Nanoseconds since 1970; after 2262, or before 1678, no int64_t has them. */
static void
add_ns(struct buf *out, const struct timespec *t)
{
	int64_t seconds = t->tv_sec;
	long ns = t->tv_nsec;
	char text[16];

	if (seconds < 0) {
		buf_add_char(out, '-');
		seconds = -(seconds + (ns > 0));
		ns = ns > 0 ? 1000000000 - ns : 0;
	}
	if (seconds > 0)
		buf_add_int(out, seconds);
	snprintf(text, sizeof(text), seconds > 0 ? "%09ld" : "%ld", ns);
	buf_add_str(out, text);
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
	add_ns(out, &st->st_mtim);
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
			file_fail(name);
	} else if (a->null) {
		buf_add(out, name, strlen(name) + 1);
	} else {
		add_shown(out, name);
		buf_add_char(out, '\n');
	}
	if (buf_failed(out))
		file_fail_memory();
}

int
file_list(const struct args *a)
{
	const char *path = a->operands[0];
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct names n = { 0 };
	struct buf out = { 0 };
	size_t i;

	if (dir == NULL)
		file_fail(path);
	names_read(&n, dir, path);
	for (i = 0; i < n.count; i++) {
		list_one(&out, fd, n.list[i], a);
		free(n.list[i]);
		if (out.len >= BLOCK) {
			cli_out_buf(&out);
			out.len = 0;
		}
	}
	cli_out_buf(&out);
	free(n.list);
	buf_free(&out);
	closedir(dir);
	return EXIT_YES;
}
