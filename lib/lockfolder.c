#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "json.h"
#include "lockfolder.h"
#include "units.h"

#define PID_FILE	"pid"		/* "4711\n": shell scripts */
#define OWNER_FILE	"owner.json"	/* {"pid":4711,"createdAt":...} */
#define FILE_MAX	4096

/* What a folder says of its holder. */
struct claim {
	pid_t pid, owner;	/* of PID_FILE and OWNER_FILE; 0 for none */
	uint64_t start;		/* of owner, 0 for not said */
	bool other_boot;
};

/* A small file of the folder; false when it is missing, large or no file. */
static bool
read_small(int folder, const char *name, struct buf *b)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_NOCTTY | O_CLOEXEC), result;
	struct stat st;

	if (fd == -1)
		return false;
	result = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ?
	    io_read_to_end(fd, b, FILE_MAX) : -1;
	io_close(fd);
	return result == 0 && !buf_failed(b);
}

static void
read_pid(int folder, struct claim *c)
{
	struct buf b = { 0 };
	uint64_t pid;
	char *p;

	if (!read_small(folder, PID_FILE, &b))
		goto out;
	buf_add_char(&b, '\0');
	if (buf_failed(&b))
		goto out;
	p = b.data + strspn(b.data, " \t\r\n");
	p[strcspn(p, " \t\r\n")] = '\0';
	if (units_parse_number(p, INT32_MAX, &pid) == 0)
		c->pid = (pid_t)pid;
out:
	buf_free(&b);
}

static size_t
member(const struct json *j, const char *key)
{
	size_t token;

	if (json_type_of(j, 0) != JSON_OBJECT)
		return 0;
	for (token = 1; token < j->count; token = json_skip(j, token + 1))
		if (json_string_is(json_raw(j, token), key))
			return token + 1;
	return 0;
}

static void
copy_member(const struct json *j, const char *key, char *out, size_t size)
{
	size_t token = member(j, key);
	struct buf text = { 0 };

	if (token != 0 && json_type_of(j, token) == JSON_STRING) {
		json_unescape(&text, json_raw(j, token));
		buf_add_char(&text, '\0');
		if (!buf_failed(&text) && text.len <= size)
			memcpy(out, text.data, text.len);
	}
	buf_free(&text);
}

static int64_t
integer_member(const struct json *j, const char *key, int64_t max)
{
	size_t token = member(j, key);
	int64_t value;

	if (token == 0 || json_type_of(j, token) != JSON_NUMBER ||
	    json_integer(j, token, max, &value) == -1)
		return 0;
	return value;
}

static void
read_owner(int folder, struct claim *c, struct holder *h)
{
	char boot[PROCESS_BOOT_SIZE] = "", here[PROCESS_BOOT_SIZE];
	struct buf b = { 0 };
	struct json j = { 0 };

	if (read_small(folder, OWNER_FILE, &b) &&
	    json_parse(&j, buf_span(&b)) == 0) {
		c->owner = (pid_t)integer_member(&j, "pid", INT32_MAX);
		c->start = (uint64_t)integer_member(&j, "startTime",
		    INT64_MAX);
		copy_member(&j, "bootId", boot, sizeof(boot));
		copy_member(&j, "command", h->command, sizeof(h->command));
		process_boot(here);
		c->other_boot = boot[0] != '\0' && here[0] != '\0' &&
		    strcmp(boot, here) != 0;
	}
	json_free(&j);
	buf_free(&b);
}

/* Nothing in it but what a lock is made of. */
static bool
is_lock(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	bool other = dir == NULL;

	while (!other && (entry = readdir(dir)) != NULL)
		other = strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0 &&
		    strcmp(entry->d_name, PID_FILE) != 0 &&
		    strcmp(entry->d_name, OWNER_FILE) != 0;
	if (dir != NULL)
		closedir(dir);
	else
		io_close(fd);
	return !other;
}

static int64_t
ms_of(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Alive when either of the two files names a live process: a peer that was
 * stopped may have written its pid into a folder of ours.
 */
static enum lockdir_state
judge(int folder, const struct claim *c, struct lockfolder *f)
{
	struct holder *h = &f->holder;
	uint64_t start = c->pid == c->owner ? c->start : 0;
	bool pid_alive = process_is_alive(c->pid, start) &&
	    !(c->other_boot && c->pid == c->owner);
	bool owner_alive = process_is_alive(c->owner, c->start) &&
	    !c->other_boot;

	h->pid = pid_alive || c->owner == 0 || (c->pid != 0 && !owner_alive) ?
	    c->pid : c->owner;
	h->alive = pid_alive || owner_alive;
	if (h->alive) {
		if (h->command[0] == '\0' || h->pid != c->owner)
			process_command(h->pid, h->command,
			    sizeof(h->command));
		return LOCKDIR_HELD;
	}
	if (!is_lock(folder)) {
		errno = EEXIST;
		return LOCKDIR_UNSEEN;
	}
	if (h->pid == 0 && clock_wall_ms() - ms_of(f->changed) <
	    LOCKDIR_GRACE_MS)
		return LOCKDIR_UNKNOWN;
	return LOCKDIR_LEFT;
}

void
lockfolder_look(int parent, const char *name, struct lockfolder *f)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	struct claim c = { 0 };
	struct stat st;

	*f = (struct lockfolder){ .state = LOCKDIR_UNSEEN,
	    .holder.since = -1 };
	if (fd == -1) {
		if (errno == ENOENT)
			f->state = LOCKDIR_FREE;
		/* Another user's, who does not let us look: it is there. */
		if (errno == EACCES && fstatat(parent, name, &st,
		    AT_SYMLINK_NOFOLLOW) == 0) {
			f->state = LOCKDIR_HELD;
			f->holder.alive = true;
		}
		return;
	}
	if (fstat(fd, &st) == 0) {
		f->dev = st.st_dev;
		f->ino = st.st_ino;
		f->changed = st.st_mtim;
		f->holder.since = ms_of(st.st_mtim);
		read_pid(fd, &c);
		read_owner(fd, &c, &f->holder);
		f->state = judge(fd, &c, f);
	}
	io_close(fd);
}

bool
lockfolder_is(int parent, const char *name, const struct lockfolder *f)
{
	struct stat st;

	return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == f->dev && st.st_ino == f->ino;
}

static void
put_owner(struct buf *out, pid_t pid, const char *command)
{
	char text[CLOCK_TEXT_SIZE], boot[PROCESS_BOOT_SIZE];
	uint64_t start = process_start(pid);

	buf_add_char(out, '{');
	json_put_key(out, "pid");
	buf_add_int(out, pid);
	json_put_key(out, "createdAt");
	clock_format(clock_wall_ms(), text);
	json_put_string(out, span_of(text));
	process_boot(boot);
	if (start != 0 && boot[0] != '\0') {
		json_put_key(out, "startTime");
		buf_add_int(out, (int64_t)start);
		json_put_key(out, "bootId");
		json_put_string(out, span_of(boot));
	}
	json_put_key(out, "command");
	json_put_string(out, span_of(command));
	buf_add_str(out, "}\n");
}

static int
write_file(int folder, const char *name, struct buf *text)
{
	int fd = -1, result = -1;

	if (!buf_failed(text))
		fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL |
		    O_CLOEXEC, 0666);
	if (fd != -1) {
		result = io_write_all(fd, text->data, text->len);
		if (close(fd) == -1)
			result = -1;
	}
	buf_free(text);
	return result;
}

int
lockfolder_make(int parent, const char *name, pid_t pid, const char *command)
{
	struct buf number = { 0 }, owner = { 0 };
	int fd, saved;

	if (mkdirat(parent, name, 0777) == -1)
		return -1;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	saved = errno;
	if (fd != -1) {
		buf_add_int(&number, pid);
		buf_add_char(&number, '\n');
		put_owner(&owner, pid, command);
		if (write_file(fd, PID_FILE, &number) == 0 &&
		    write_file(fd, OWNER_FILE, &owner) == 0)
			return fd;
		saved = errno;
	}
	buf_free(&number);
	buf_free(&owner);
	io_close(fd);
	lockfolder_remove(parent, name);
	errno = saved;
	return -1;
}

int
lockfolder_remove(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);

	if (fd == -1)
		return -1;
	unlinkat(fd, PID_FILE, 0);
	unlinkat(fd, OWNER_FILE, 0);
	close(fd);
	return unlinkat(parent, name, AT_REMOVEDIR);
}
