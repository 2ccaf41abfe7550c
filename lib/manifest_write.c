#include <errno.h>

#include "base64.h"
#include "io.h"
#include "json.h"
#include "manifest.h"

#define CHUNK	65536

void
manifest_put_path(struct buf *out, const char *key, struct span bytes)
{
	if (utf8_is_valid(bytes)) {
		json_put_key(out, key);
		json_put_string(out, bytes);
		return;
	}
	buf_add_str(out, out->len > 0 && out->data[out->len - 1] == '{' ?
	    "\"" : ",\"");
	buf_add_str(out, key);
	buf_add_str(out, "Base64\":\"");
	base64_encode(out, bytes);
	buf_add_char(out, '"');
}

static void
put_file(struct buf *out, const struct entry *e)
{
	char text[MANIFEST_ID_SIZE];

	json_put_key(out, "size");
	buf_add_int(out, (int64_t)e->size);
	json_put_key(out, "mtimeNs");
	buf_add_char(out, '"');
	buf_add_int(out, e->mtime_ns);
	buf_add_char(out, '"');
	json_put_key(out, "sha256");
	buf_add_char(out, '"');
	sha256_hex(e->sha256, text);
	buf_add_str(out, text);
	buf_add_char(out, '"');
}

void
manifest_put_entry(struct buf *out, const struct entry *e)
{
	buf_add_char(out, '{');
	manifest_put_path(out, "path", e->path);
	json_put_key(out, "type");
	buf_add_str(out, e->type == ENTRY_FILE ? "\"file\"" :
	    e->type == ENTRY_DIR ? "\"dir\"" : "\"link\"");
	if (e->type != ENTRY_LINK) {
		json_put_key(out, "mode");
		buf_add_int(out, e->mode);
	}
	if (e->type == ENTRY_FILE)
		put_file(out, e);
	else if (e->type == ENTRY_LINK)
		manifest_put_path(out, "target", e->target);
	buf_add_str(out, "}\n");
}

static int
flush(struct manifest_writer *m)
{
	if (buf_failed(&m->out))
		return -1;
	sha256_add(&m->sum, m->out.data, m->out.len);
	if (m->fd != -1 && m->out.len > 0 &&
	    io_write_all(m->fd, m->out.data, m->out.len) == -1)
		return -1;
	buf_reset(&m->out, CHUNK * 2);
	return 0;
}

static void
put_text(struct buf *out, struct span text)
{
	if (utf8_is_valid(text)) {
		json_put_string(out, text);
		return;
	}
	/* A pattern that is not UTF-8 is an object, to be told from text. */
	buf_add_str(out, "{\"base64\":\"");
	base64_encode(out, text);
	buf_add_str(out, "\"}");
}

int
manifest_begin(struct manifest_writer *m, const struct scope *s)
{
	size_t i;

	sha256_init(&m->sum);
	buf_add_str(&m->out, "{\"manifest\":1,\"exclude\":[");
	for (i = 0; i < s->npatterns; i++) {
		if (i > 0)
			buf_add_char(&m->out, ',');
		put_text(&m->out, scope_pattern(s, i));
	}
	buf_add_char(&m->out, ']');
	if (s->npreserved > 0)
		buf_add_str(&m->out, ",\"preserve\":[");
	for (i = 0; i < s->npreserved; i++) {
		if (i > 0)
			buf_add_char(&m->out, ',');
		put_text(&m->out, span_of(s->preserved[i]));
	}
	buf_add_str(&m->out, s->npreserved > 0 ? "]}\n" : "}\n");
	return 0;
}

int
manifest_add(struct manifest_writer *m, const struct entry *e)
{
	manifest_put_entry(&m->out, e);
	return m->out.len < CHUNK && !buf_failed(&m->out) ? 0 : flush(m);
}

int
manifest_add_line(struct manifest_writer *m, struct span line)
{
	buf_add_span(&m->out, line);
	return m->out.len < CHUNK && !buf_failed(&m->out) ? 0 : flush(m);
}

int
manifest_end(struct manifest_writer *m, char id[static MANIFEST_ID_SIZE])
{
	uint8_t sum[SHA256_SIZE];

	if (flush(m) == -1)
		return -1;
	sha256_end(&m->sum, sum);
	sha256_hex(sum, id);
	return 0;
}

void
manifest_writer_free(struct manifest_writer *m)
{
	buf_free(&m->out);
}
