#include <string.h>

#include "tar_pax.h"

int
tar_decimal(struct span text, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	if (text.n == 0)
		return -1;
	for (i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' ||
		    value > (INT64_MAX - 9) / 10)
			return -1;
		value = value * 10 + (uint64_t)(text.p[i] - '0');
	}
	*out = value;
	return 0;
}

/* Two's complement over the field, but for the first byte's top bit. */
static int
base_256(const char *field, size_t size, int64_t *out)
{
	const unsigned char *p = (const unsigned char *)field;
	bool negative = (p[0] & 0x40) != 0;
	uint64_t value = negative ? UINT64_MAX : 0;
	unsigned char byte;
	size_t i;

	for (i = 0; i < size; i++) {
		byte = i > 0 ? p[i] : negative ? p[i] : p[i] & 0x7f;
		/* What is shifted out must be the sign. */
		if ((value >> 55) != (negative ? 0x1ffu : 0u))
			return -1;
		value = value << 8 | byte;
	}
	*out = (int64_t)value;
	return (*out < 0) == negative ? 0 : -1;
}

int
tar_number(const char *field, size_t size, int64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;

	if ((unsigned char)field[0] & 0x80)
		return base_256(field, size, out);
	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value >> 60 != 0)
			return -1;
		value = value << 3 | (uint64_t)(field[i] - '0');
	}
	/* An empty field is 0: some leave out what they do not know. */
	for (; i < size; i++)
		if (field[i] != ' ' && field[i] != '\0')
			return -1;
	*out = (int64_t)value;
	return 0;
}

/* Seconds with a fraction, rounded down to ns. */
static int
parse_time(struct span text, int64_t *ns)
{
	bool negative = text.n > 0 && text.p[0] == '-', more = false;
	uint64_t seconds;
	int64_t fraction = 0, value;
	struct span whole;
	size_t i, digits = 0;
	const char *dot;

	if (negative) {
		text.p++;
		text.n--;
	}
	dot = text.n > 0 ? memchr(text.p, '.', text.n) : NULL;
	whole = (struct span){ text.p,
	    dot == NULL ? text.n : (size_t)(dot - text.p) };
	if (tar_decimal(whole, &seconds) == -1 || seconds > 9223372035)
		return -1;
	for (i = whole.n + 1; dot != NULL && i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		if (digits++ < 9)
			fraction = fraction * 10 + (text.p[i] - '0');
		else if (text.p[i] != '0')
			more = true;
	}
	for (; digits < 9; digits++)
		fraction *= 10;
	value = (int64_t)seconds * 1000000000 + fraction;
	*ns = negative ? -value - (more ? 1 : 0) : value;
	return 0;
}

/* --- sparse maps --- */

static const char *
add_run(struct tar_pax *p, uint64_t offset, uint64_t len, size_t max)
{
	struct tar_run run = { offset, len };

	if (p->map.len / sizeof(run) >= max)
		return "too many runs in a sparse file";
	buf_add(&p->map, &run, sizeof(run));
	return NULL;
}

/* "offset,length,offset,length..." */
static const char *
parse_map(struct tar_pax *p, struct span text, size_t max)
{
	const char *comma, *bad;
	struct span part;
	uint64_t value, offset = 0;
	bool half = false;

	p->map.len = 0;
	while (text.n > 0) {
		comma = memchr(text.p, ',', text.n);
		part = (struct span){ text.p, comma == NULL ? text.n :
		    (size_t)(comma - text.p) };
		if (tar_decimal(part, &value) == -1)
			return "a sparse map that is none";
		if (half && (bad = add_run(p, offset, value, max)) != NULL)
			return bad;
		offset = value;
		half = !half;
		text.p += part.n;
		text.n -= part.n;
		if (text.n > 0) {
			text.p++;
			text.n--;
			if (text.n == 0)
				return "a sparse map that is none";
		}
	}
	return half ? "a sparse map that is none" : NULL;
}

static const char *
sparse_record(struct tar_pax *p, struct span key, struct span value,
    size_t value_at, size_t max)
{
	uint64_t number = 0;
	bool is_number = tar_decimal(value, &number) == 0;

	p->sparse = true;
	if (span_is(key, "GNU.sparse.name")) {
		p->sparse_name = value.n > 0;
		p->name_at = value_at;
		p->name_len = value.n;
		return memchr(value.p, '\0', value.n) != NULL ?
		    "a NUL in a name" : NULL;
	}
	if (span_is(key, "GNU.sparse.map"))
		return parse_map(p, value, max);
	if (!is_number)
		return "a number that is none";
	if (span_is(key, "GNU.sparse.major")) {
		p->major = number > 9 ? 9 : (unsigned)number;
	} else if (span_is(key, "GNU.sparse.minor")) {
		p->minor = number > 9 ? 9 : (unsigned)number;
	} else if (span_is(key, "GNU.sparse.realsize") ||
	    span_is(key, "GNU.sparse.size")) {
		p->realsize = true;
		p->realsize_value = number;
	} else if (span_is(key, "GNU.sparse.offset")) {
		if (p->half)
			return "a sparse map that is none";
		p->half = true;
		p->offset = number;
	} else if (span_is(key, "GNU.sparse.numbytes")) {
		if (!p->half)
			return "a sparse map that is none";
		p->half = false;
		return add_run(p, p->offset, number, max);
	}
	return NULL;
}

/* --- records --- */

static bool
starts_with(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && memcmp(s.p, with, n) == 0;
}

static const char *
take_record(struct tar_pax *p, struct span key, struct span value,
    size_t at, bool global, size_t max)
{
	bool names = span_is(key, "path") || span_is(key, "linkpath") ||
	    span_is(key, "size") || starts_with(key, "GNU.sparse.");

	if (global && names)
		return "a global header that names a member";
	if (span_is(key, "path") || span_is(key, "linkpath")) {
		if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
			return "a NUL in a name";
		if (key.n == 4) {
			p->path = value.n > 0;
			p->path_at = at;
			p->path_len = value.n;
		} else {
			p->linkpath = value.n > 0;
			p->linkpath_at = at;
			p->linkpath_len = value.n;
		}
		return NULL;
	}
	if (span_is(key, "size")) {
		p->size = value.n > 0;
		return p->size && tar_decimal(value, &p->size_value) == -1 ?
		    "a size that is none" : NULL;
	}
	if (span_is(key, "mtime")) {
		p->mtime = value.n > 0;
		return p->mtime && parse_time(value, &p->mtime_ns) == -1 ?
		    "a time that is none" : NULL;
	}
	return starts_with(key, "GNU.sparse.") ?
	    sparse_record(p, key, value, at, max) : NULL;
}

const char *
tar_pax_parse(struct tar_pax *p, struct span text, bool global, size_t max)
{
	const char *space, *equal, *bad;
	struct span digits, key, value;
	size_t at = 0, left;
	uint64_t len;

	while (at < text.n) {
		left = text.n - at;
		space = memchr(text.p + at, ' ', left < 20 ? left : 20);
		if (space == NULL)
			return "an extended header that is none";
		digits = (struct span){ text.p + at,
		    (size_t)(space - text.p) - at };
		if (tar_decimal(digits, &len) == -1 || len > left ||
		    len < digits.n + 3 || text.p[at + len - 1] != '\n')
			return "an extended header with a wrong length";
		key.p = space + 1;
		key.n = (size_t)len - digits.n - 2;
		equal = memchr(key.p, '=', key.n);
		if (equal == NULL || equal == key.p)
			return "an extended header without a key";
		value.p = equal + 1;
		value.n = key.n - (size_t)(equal - key.p) - 1;
		key.n = (size_t)(equal - key.p);
		bad = take_record(p, key, value, (size_t)(value.p - text.p),
		    global, max);
		if (bad != NULL)
			return bad;
		at += (size_t)len;
	}
	return p->half ? "a sparse map that is none" : NULL;
}

void
tar_pax_reset(struct tar_pax *p)
{
	struct buf map = p->map;

	buf_reset(&map, 65536);
	*p = (struct tar_pax){ .map = map };
}

void
tar_pax_free(struct tar_pax *p)
{
	buf_free(&p->map);
}
