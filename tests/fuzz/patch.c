/*
 * A delta on a manifest: base, lines and deletions, with a byte 1 between
 * them.  What comes of it is a manifest: the lines, and what of base is
 * neither deleted, nor below what went, nor said anew; and the same delta
 * taken again changes nothing.
 */
#include "beneath.h"
#include "fuzz.h"
#include "manifest.h"

#define PATHS_MAX 512

static int
patch(int base_fd, struct span lines, struct span deleted, bool cut,
    struct fault *f)
{
	struct manifest_writer w = { .fd = fuzz_file("", 0) };
	struct manifest *base = manifest_open(dup(base_fd), "base", f);
	struct manifest *l = manifest_open_lines(fuzz_file(lines.p, lines.n),
	    "lines", f);
	int gone = fuzz_file(deleted.p, deleted.n), got = -1;
	char id[MANIFEST_ID_SIZE];

	check(l != NULL);
	if (base != NULL && manifest_begin(&w, manifest_scope(base)) == 0 &&
	    (got = manifest_patch(base, l, gone, cut, &w, f)) == 0)
		check(manifest_end(&w, id) == 0 &&
		    lseek(w.fd, 0, SEEK_SET) == 0);
	manifest_writer_free(&w);
	manifest_free(base);
	manifest_free(l);
	close(gone);
	if (got == 0)
		return w.fd;
	close(w.fd);
	check(f->kind != FAULT_NONE);
	return -1;
}

/* The paths of a manifest, or of lines, in order: how many, or -1. */
static int
paths(int fd, bool whole, struct buf out[static PATHS_MAX])
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest *m;
	const struct entry *e;
	bool failed = false;
	int n = 0;

	check(lseek(fd, 0, SEEK_SET) == 0);
	m = whole ? manifest_open(dup(fd), "m", &f) :
	    manifest_open_lines(dup(fd), "m", &f);
	check(m != NULL);
	while ((e = manifest_peek(m, &f, &failed)) != NULL && n < PATHS_MAX) {
		buf_reset(&out[n], 256);
		buf_add_span(&out[n++], e->path);
		manifest_next(m);
	}
	manifest_free(m);
	fault_clear(&f);
	return failed || n == PATHS_MAX ? -1 : n;
}

static bool
is_among(struct span path, const struct buf *list, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (span_equal(path, buf_span(&list[i])))
			return true;
	return false;
}

/* What came is of lines or of base, and of base nothing that is deleted. */
static void
check_result(int base, int result, struct span lines, struct span deleted)
{
	static struct buf was[PATHS_MAX], is[PATHS_MAX], new[PATHS_MAX];
	int fd = fuzz_file(lines.p, lines.n), nwas, nis, nnew, i;
	struct span gone;

	nwas = paths(base, true, was);
	nis = paths(result, true, is);
	nnew = paths(fd, false, new);
	close(fd);
	if (nwas == -1 || nnew == -1)
		return;
	check(nis != -1);
	for (i = 0; i < nnew; i++)
		check(is_among(buf_span(&new[i]), is, nis));
	for (i = 0; i < nis; i++)
		check(is_among(buf_span(&is[i]), was, nwas) ||
		    is_among(buf_span(&is[i]), new, nnew));
	while (deleted.n > 0) {
		if (memchr(deleted.p, '\0', deleted.n) == NULL)
			break;
		gone = fuzz_cut(&deleted, '\0');
		check(!is_among(gone, is, nis));
	}
}

/* In order, and paths, as receiving makes sure. */
static bool
is_list(struct span deleted)
{
	struct span path, last = { NULL, 0 };

	while (deleted.n > 0) {
		path = fuzz_cut(&deleted, '\0');
		if (path_check(path, BENEATH_PATH_MAX, BENEATH_DEPTH_MAX) !=
		    PATH_OK || (last.n > 0 && path_compare(last, path) >= 0))
			return false;
		last = path;
	}
	return true;
}

/* Receiving refuses an entry that is outside. */
static bool
is_inside(int base, struct span lines)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest *b = manifest_open(dup(base), "base", &f), *l;
	const struct entry *e;
	bool failed, inside = b != NULL;

	l = manifest_open_lines(fuzz_file(lines.p, lines.n), "lines", &f);
	check(l != NULL);
	while (inside && (e = manifest_peek(l, &f, &failed)) != NULL) {
		inside = scope_has_all(manifest_scope(b), e->path);
		manifest_next(l);
	}
	manifest_free(b);
	manifest_free(l);
	fault_clear(&f);
	check(lseek(base, 0, SEEK_SET) == 0);
	return inside;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fault f = { .kind = FAULT_NONE };
	struct span rest = { (const char *)data + 1, len - 1 }, b, lines, gone;
	int base, one, two;
	off_t size;
	bool cut;

	if (len == 0)
		return 0;
	cut = data[0] & 1;
	b = fuzz_cut(&rest, '\1');
	lines = fuzz_cut(&rest, '\1');
	gone = fuzz_cut(&rest, '\1');
	base = fuzz_file(b.p, b.n);
	if (!is_list(gone) || !is_inside(base, lines)) {
		close(base);
		return 0;
	}
	one = patch(base, lines, gone, cut, &f);
	fault_clear(&f);
	if (one != -1) {
		check_result(base, one, lines, gone);
		check(lseek(one, 0, SEEK_SET) == 0);
		size = lseek(one, 0, SEEK_END);
		check(lseek(one, 0, SEEK_SET) == 0);
		two = patch(one, lines, gone, cut, &f);
		check(two != -1 && lseek(two, 0, SEEK_END) == size);
		close(two);
		close(one);
	}
	close(base);
	return 0;
}
