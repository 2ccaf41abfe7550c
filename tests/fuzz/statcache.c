/*
 * Sums of files that did not change.  Bytes with their sum after them are
 * read to an end, whatever they are; what was added in order is found, if it
 * is settled, by the same stat data only; a copy proves the same; and a file
 * in which any byte is another one proves nothing.
 */
#include <time.h>

#include "beneath.h"
#include "fuzz.h"
#include "statcache.h"

#define FILES_MAX 64
#define NOW 2000000000000000000		/* ns; times before it are settled */

struct file {
	struct span path;
	struct stat st;
	uint8_t sum[SHA256_SIZE];
	bool settled;
};

static void
check_any(const uint8_t *data, size_t len)
{
	static const char magic[] = "pc-statcache 1\n";
	struct statcache_writer copy = { .fd = fuzz_file("", 0) };
	struct stat st = { .st_ino = 1 };
	uint8_t sum[SHA256_SIZE];
	struct buf b = { 0 };
	struct sha256 s;
	struct statcache *c;

	buf_add(&b, magic, sizeof(magic) - 1);
	buf_add(&b, data, len);
	sha256_init(&s);
	sha256_add(&s, b.data, b.len);
	sha256_end(&s, sum);
	buf_add(&b, sum, sizeof(sum));
	check((c = statcache_open(fuzz_file(b.data, b.len))) != NULL);
	(void)statcache_find(c, span_of("m"), &st, sum);
	statcache_rewind(c);
	check(statcache_copy(&copy, c, (struct span){ NULL, 0 }) == 0);
	check(statcache_end(&copy) == 0);
	check(lseek(copy.fd, 0, SEEK_END) <= (off_t)b.len);
	statcache_writer_free(&copy);
	close(copy.fd);
	statcache_free(c);
	buf_free(&b);
}

static size_t
make(struct file f[static FILES_MAX], struct span s)
{
	struct span path;
	size_t n = 0;

	while (s.n >= 4 && n < FILES_MAX) {
		f[n].st = (struct stat){ .st_ino = (ino_t)s.p[0] & 3,
		    .st_size = s.p[1] & 3,
		    .st_mtim = { .tv_sec = s.p[2] & 3, .tv_nsec = 1 } };
		f[n].settled = (s.p[3] & 1) == 0;
		f[n].st.st_ctim = (struct timespec){
		    .tv_sec = f[n].settled ? 5 : NOW / 1000000000,
		    .tv_nsec = s.p[3] & 2 };
		memset(f[n].sum, s.p[3], SHA256_SIZE);
		s.p += 4;
		s.n -= 4;
		path = fuzz_cut(&s, '\0');
		if (path.n == 0 || (n > 0 &&
		    path_compare(f[n - 1].path, path) >= 0))
			continue;
		f[n++].path = path;
	}
	return n;
}

static void
check_found(int fd, const struct file f[static FILES_MAX], size_t n,
    bool whole)
{
	struct statcache *c = statcache_open(dup(fd));
	uint8_t sum[SHA256_SIZE];
	struct stat other;
	size_t i;

	check(c != NULL);
	for (i = 0; i < n; i++) {
		other = f[i].st;
		other.st_size++;
		check(!statcache_find(c, f[i].path, &other, sum));
		check(statcache_find(c, f[i].path, &f[i].st, sum) ==
		    (whole && f[i].settled));
		check(!whole || !f[i].settled ||
		    memcmp(sum, f[i].sum, SHA256_SIZE) == 0);
	}
	statcache_free(c);
}

static void
check_written(const uint8_t *data, size_t len)
{
	static struct file f[FILES_MAX];
	struct statcache_writer w = { .fd = fuzz_file("", 0) };
	struct statcache_writer copy = { .fd = fuzz_file("", 0) };
	size_t n, i;
	struct statcache *c;
	uint8_t byte;
	off_t at;

	n = make(f, (struct span){ (const char *)data + 1, len - 1 });
	for (i = 0; i < n; i++)
		check(statcache_add(&w, f[i].path, &f[i].st, NOW, f[i].sum) ==
		    0);
	check(statcache_end(&w) == 0);
	check_found(w.fd, f, n, true);
	check((c = statcache_open(dup(w.fd))) != NULL);
	check(statcache_copy(&copy, c, (struct span){ NULL, 0 }) == 0);
	check(statcache_end(&copy) == 0);
	check_found(copy.fd, f, n, true);
	at = lseek(w.fd, 0, SEEK_END) * data[0] / 256;
	check(pread(w.fd, &byte, 1, at) == 1);
	byte ^= 1;
	check(pwrite(w.fd, &byte, 1, at) == 1);
	check_found(w.fd, f, n, false);
	statcache_free(c);
	statcache_writer_free(&w);
	statcache_writer_free(&copy);
	close(w.fd);
	close(copy.fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	if (data[0] & 1)
		check_written(data, len);
	else
		check_any(data + 1, len - 1);
	return 0;
}
