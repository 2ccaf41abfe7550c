/*
 * Manifests: what is taken is in order, inside the tree, and is written again
 * as the same manifest.  Patterns match without end or excess.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beneath.h"
#include "manifest.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fault f = { .kind = FAULT_NONE };
	struct manifest_writer w = { .fd = -1 };
	struct buf last = { .data = NULL }, line = { .data = NULL };
	char id[MANIFEST_ID_SIZE];
	const struct entry *e;
	struct manifest *m;
	bool failed = false;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd == -1 || write(fd, data, len) != (ssize_t)len ||
	    lseek(fd, 0, SEEK_SET) == -1)
		abort();
	m = manifest_open(fd, "m", &f);
	if (m == NULL) {
		if (f.kind == FAULT_NONE)
			abort();
		fault_clear(&f);
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
		/* A line has one form: what was read is it, or not canonical. */
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
	manifest_writer_free(&w);
	manifest_free(m);
	fault_clear(&f);
	buf_free(&last);
	buf_free(&line);
	return 0;
}
