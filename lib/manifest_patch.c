#include "beneath.h"
#include "manifest.h"
#include "path_list.h"

struct patching {
	struct manifest_writer *out;
	struct fault *f;
	bool cut;		/* deletions may be missing */
	struct buf gone;	/* the last entry that went, or became no folder */
};

static int
gone(struct patching *k, struct span path)
{
	if (k->gone.len > 0 && path_is_below(path, buf_span(&k->gone)))
		return 0;	/* what is above covers it */
	return buf_set(&k->gone, path) == -1 ? fault_system(k->f, path) : 0;
}

static int
keep(struct patching *k, struct manifest *from, bool changed)
{
	bool failed;
	const struct entry *e = manifest_peek(from, k->f, &failed);

	if (k->gone.len > 0 && e->path.n > k->gone.len &&
	    path_is_below(e->path, buf_span(&k->gone)))
		return k->cut && !changed ? 0 :
		    fault_input(k->f, e->path, changed ?
		    "sent, and its folder is not" :
		    "its folder is deleted, and it is not");
	/* As it stands there, which is how it would be written. */
	if (manifest_add_line(k->out, manifest_line(from)) == -1)
		return fault_system(k->f, span_of("manifest"));
	return changed && e->type != ENTRY_DIR ? gone(k, e->path) : 0;
}

/* Deletions before path are passed over: 1 when path is one, 0, -1. */
static int
is_deleted(struct patching *k, struct path_list *l, struct span path)
{
	struct span next;
	int got, order;

	while ((got = path_list_peek(l, &next)) == 1) {
		if ((order = path_compare(next, path)) > 0)
			return 0;
		path_list_next(l);
		if (order == 0)
			return 1;
	}
	return got == -1 ? fault_system(k->f, span_of("deletions")) : 0;
}

static int
patch(struct patching *k, struct manifest *base, struct manifest *lines,
    struct path_list *deleted)
{
	const struct entry *b, *n;
	bool failed;
	int order, got, is;

	for (;;) {
		b = manifest_peek(base, k->f, &failed);
		if (failed)
			return -1;
		n = manifest_peek(lines, k->f, &failed);
		if (failed)
			return -1;
		if (b == NULL && n == NULL)
			return 0;
		order = b == NULL ? 1 : n == NULL ? -1 :
		    path_compare(b->path, n->path);
		is = is_deleted(k, deleted, order >= 0 ? n->path : b->path);
		if (is == -1)
			return -1;
		if (order >= 0)
			got = is == 1 ?
			    fault_input(k->f, n->path, "sent and deleted") :
			    keep(k, lines, true);
		else
			got = is == 1 ? gone(k, b->path) :
			    keep(k, base, false);
		if (got == -1)
			return -1;
		if (order <= 0)
			manifest_next(base);
		if (order >= 0)
			manifest_next(lines);
	}
}

int
manifest_patch(struct manifest *base, struct manifest *lines, int deleted,
    bool cut, struct manifest_writer *out, struct fault *f)
{
	struct patching k = { .out = out, .f = f, .cut = cut };
	struct path_list *l = path_list_open(deleted);
	int got;

	if (l == NULL)
		return fault_system(f, span_of("deletions"));
	got = patch(&k, base, lines, l);
	path_list_free(l);
	buf_free(&k.gone);
	return got;
}
