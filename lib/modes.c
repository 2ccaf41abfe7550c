#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "beneath.h"
#include "io.h"
#include "modes.h"
#include "sha256.h"

#define SUM_SIZE	16	/* of a path: enough for it to be the only one */

/* Before each path in the file. */
struct record {
	uint32_t path_len;
	uint16_t mode;
	uint8_t implied;
	uint8_t zero;
};

/* Folders are told apart, and found, by depth and by the sum of their paths. */
struct place {
	uint8_t sum[SUM_SIZE];
	uint64_t at;		/* of the path in the file */
	uint16_t path_len, depth, mode;
	uint8_t implied;
};

struct modes {
	int fd;
	struct place *places;
	size_t n, next;
	char path[BENEATH_PATH_MAX];
};

int
modes_add(int fd, const struct folder_mode *m)
{
	struct record r = { .path_len = (uint32_t)m->path.n,
	    .mode = (uint16_t)m->mode, .implied = m->implied };
	char all[sizeof(r) + BENEATH_PATH_MAX];

	if (m->path.n > BENEATH_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(all, &r, sizeof(r));
	memcpy(all + sizeof(r), m->path.p, m->path.n);
	return io_write_all(fd, all, sizeof(r) + m->path.n);
}

static void
locate(struct place *p, struct span path)
{
	uint8_t sum[SHA256_SIZE];
	struct sha256 ctx;
	unsigned depth = 0;
	size_t i;

	sha256_init(&ctx);
	sha256_add(&ctx, path.p, path.n);
	sha256_end(&ctx, sum);
	memcpy(p->sum, sum, SUM_SIZE);
	p->path_len = (uint16_t)path.n;
	for (i = 0; i < path.n; i++)
		depth += path.p[i] == '/';
	p->depth = (uint16_t)depth;
}

static int
by_folder(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->depth != y->depth ? (int)x->depth - (int)y->depth :
	    memcmp(x->sum, y->sum, SUM_SIZE);
}

static int
by_folder_and_age(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = by_folder(a, b);

	return order != 0 ? order : x->at < y->at ? -1 : x->at > y->at;
}

/* The record that is next: 1, 0 at the end, -1 (EBADMSG for a part of one). */
static int
read_record(struct modes *m, FILE *in, struct place *p)
{
	struct record r;
	size_t n = fread(&r, 1, sizeof(r), in);

	if (n == 0 && feof(in))
		return 0;
	if (n < sizeof(r) || r.path_len == 0 || r.path_len > sizeof(m->path) ||
	    fread(m->path, r.path_len, 1, in) != 1) {
		if (!ferror(in))
			errno = EBADMSG;
		return -1;
	}
	locate(p, (struct span){ m->path, r.path_len });
	p->mode = r.mode;
	p->implied = r.implied;
	return 1;
}

static int
read_places(struct modes *m, FILE *in)
{
	struct place p, *more;
	uint64_t at = 0;
	size_t cap = 0;
	int got;

	while ((got = read_record(m, in, &p)) == 1) {
		p.at = at + sizeof(struct record);
		at = p.at + p.path_len;
		if (m->n == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			more = realloc(m->places, cap * sizeof(*more));
			if (more == NULL)
				return -1;
			m->places = more;
		}
		m->places[m->n++] = p;
	}
	return got;
}

/* Of each folder, the record that came last. */
static void
keep_last(struct modes *m)
{
	size_t i, n = 0;

	if (m->n == 0)
		return;
	qsort(m->places, m->n, sizeof(*m->places), by_folder_and_age);
	for (i = 0; i < m->n; i++)
		if (i + 1 == m->n || by_folder(&m->places[i],
		    &m->places[i + 1]) != 0)
			m->places[n++] = m->places[i];
	m->n = n;
}

struct modes *
modes_open(int fd)
{
	struct modes *m = calloc(1, sizeof(*m));
	int copy = dup(fd);
	FILE *in = NULL;

	if (m == NULL || copy == -1 || lseek(copy, 0, SEEK_SET) == -1 ||
	    (in = fdopen(copy, "r")) == NULL) {
		io_close(copy);
		modes_free(m);
		return NULL;
	}
	m->fd = fd;
	if (read_places(m, in) == -1) {
		modes_free(m);
		m = NULL;
	} else {
		keep_last(m);
	}
	fclose(in);
	return m;
}

void
modes_free(struct modes *m)
{
	int saved = errno;

	if (m == NULL)
		return;
	free(m->places);
	free(m);
	errno = saved;
}

static void
take(const struct place *p, struct span path, struct folder_mode *out)
{
	*out = (struct folder_mode){ .path = path, .mode = p->mode,
	    .implied = p->implied != 0 };
}

bool
modes_find(const struct modes *m, struct span path, struct folder_mode *out)
{
	const struct place *found;
	struct place key = { .at = 0 };

	if (m->n == 0)
		return false;
	locate(&key, path);
	found = bsearch(&key, m->places, m->n, sizeof(key), by_folder);
	if (found != NULL)
		take(found, path, out);
	return found != NULL;
}

int
modes_next(struct modes *m, struct folder_mode *out)
{
	const struct place *p;
	ssize_t n;

	if (m->next == m->n)
		return 0;
	p = &m->places[m->next++];
	n = io_pread_full(m->fd, m->path, p->path_len, (off_t)p->at);
	if (n != (ssize_t)p->path_len) {
		if (n != -1)
			errno = EIO;
		return -1;
	}
	take(p, (struct span){ m->path, p->path_len }, out);
	return 1;
}
