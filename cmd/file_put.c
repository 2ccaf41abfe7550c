/* pc-file put: a file, replaced whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64.h"
#include "cli.h"
#include "file.h"
#include "io.h"
#include "put.h"

#define BLOCK	(128 * 1024)

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
			file_fail(at->path);
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
		file_fail(at->path);
	if (same && a->sync && fsync(fd) == -1)
		file_fail(at->path);
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
		file_fail_memory();
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
			file_fail_memory();
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
	put_fail(file_status(errno), object, strerror(errno));
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

int
file_put(const struct args *a)
{
	struct place at;
	struct stat st;
	mode_t mode = 0644 & ~a->umask;

	if (place_open(&at, a->operands[0], a) == -1)
		file_fail(a->operands[0]);
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
		file_fail(at.path);
	put_content(&at, a);
	if (put_commit(&put, a->sync) == -1)
		file_fail(at.path);
	place_close(&at);
	cli_out(span_of("{\"uploaded\":true}\n"));
	return EXIT_YES;
}
