/*
 * Manifests: what is taken is in order, inside the tree, and what is written
 * of it has its id, and is taken and written again as the same manifest.
 */
#include "beneath.h"
#include "fuzz.h"
#include "manifest.h"

/* All that fd holds, written again: the id that it gets. */
static void
write_again(int fd, char id[static MANIFEST_ID_SIZE])
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest_writer w = { .fd = -1 };
	char own[MANIFEST_ID_SIZE];
	const struct entry *e;
	struct manifest *m;
	bool failed = true;

	check(lseek(fd, 0, SEEK_SET) == 0);
	check((m = manifest_open(fd, "again", &f)) != NULL);
	check(manifest_begin(&w, manifest_scope(m)) == 0);
	while ((e = manifest_peek(m, &f, &failed)) != NULL) {
		check(manifest_add(&w, e) == 0);
		manifest_next(m);
	}
	check(!failed && manifest_end(&w, id) == 0);
	check(manifest_id(m, own, &f) == 0 && strcmp(own, id) == 0);
	manifest_writer_free(&w);
	manifest_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest_writer w = { .fd = fuzz_file("", 0) };
	struct buf last = { .data = NULL }, line = { .data = NULL };
	char id[MANIFEST_ID_SIZE], again[MANIFEST_ID_SIZE];
	const struct entry *e;
	struct manifest *m;
	bool failed = false;

	m = manifest_open(fuzz_file(data, len), "m", &f);
	if (m == NULL) {
		if (f.kind == FAULT_NONE)
			abort();
		fault_clear(&f);
		close(w.fd);
		return 0;
	}
	if (manifest_begin(&w, manifest_scope(m)) == -1)
		abort();
	while ((e = manifest_peek(m, &f, &failed)) != NULL) {
		if (last.len > 0 && path_compare(buf_span(&last),
		    e->path) >= 0)
			abort();
		if (path_check(e->path, BENEATH_PATH_MAX,
		    BENEATH_DEPTH_MAX) != PATH_OK ||
		    !scope_has_all(manifest_scope(m), e->path) ||
		    e->mode > 0777)
			abort();
		buf_reset(&last, 4096);
		buf_add_span(&last, e->path);
		buf_reset(&line, 65536);
		manifest_put_entry(&line, e);
		if (memchr(line.data, '\n', line.len) !=
		    line.data + line.len - 1 || manifest_add(&w, e) == -1)
			abort();
		manifest_next(m);
	}
	if (failed != (f.kind != FAULT_NONE) ||
	    manifest_end(&w, id) == -1)
		abort();
	write_again(w.fd, again);
	check(strcmp(id, again) == 0);
	manifest_writer_free(&w);
	manifest_free(m);
	fault_clear(&f);
	buf_free(&last);
	buf_free(&line);
	return 0;
}
