#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io.h"
#include "path_list.h"

struct path_list {
	FILE *in;
	char *path;
	size_t cap;
	ssize_t len;
	bool have;
};

struct path_list *
path_list_open(int fd)
{
	struct path_list *l = calloc(1, sizeof(*l));
	int copy = dup(fd);

	if (l == NULL || copy == -1 || lseek(copy, 0, SEEK_SET) == -1 ||
	    (l->in = fdopen(copy, "r")) == NULL) {
		io_close(copy);
		free(l);
		return NULL;
	}
	return l;
}

void
path_list_free(struct path_list *l)
{
	if (l == NULL)
		return;
	fclose(l->in);
	free(l->path);
	free(l);
}

int
path_list_peek(struct path_list *l, struct span *path)
{
	if (!l->have) {
		l->len = getdelim(&l->path, &l->cap, '\0', l->in);
		if (l->len == -1 && !feof(l->in))
			return -1;
		if (l->len <= 1 || l->path[l->len - 1] != '\0')
			return 0;
		l->have = true;
	}
	*path = (struct span){ l->path, (size_t)l->len - 1 };
	return 1;
}

void
path_list_next(struct path_list *l)
{
	l->have = false;
}
