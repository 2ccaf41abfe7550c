/*
 * Small files that others may write: an epoch, a gateway's pid, who has a
 * lock.  Garbage is nobody and 0; a number is what the file says; what is
 * told of a holder is one line of ASCII, and one of JSON.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "epoch.h"
#include "fuzz.h"
#include "json.h"
#include "lockstatus.h"
#include "presence.h"

static char folder[] = "/tmp/pc-fuzz.XXXXXX";
static struct queue queue;

static void
remove_folder(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	(void)!system(command);
}

/* A descriptor of this file, with these bytes only. */
static int
write_file(const char *name, struct span text)
{
	int fd = openat(queue.root, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	check(fd != -1 && ftruncate(fd, 0) == 0);
	check(write(fd, text.p, text.n) == (ssize_t)text.n);
	return fd;
}

static void
check_epoch(struct span text, uint64_t number)
{
	struct epoch e, older;
	char line[32];

	close(write_file("epoch", text));
	if (epoch_open(&e, &queue, number) == -1) {
		check(errno == ESTALE && number < UINT64_MAX);
		return;
	}
	check(pread(e.fd, line, 21, 0) == 21 && line[20] == '\n');
	line[20] = '\0';
	check(strtoull(line, NULL, 10) == number);
	check(epoch_enter(&e) == 0);
	epoch_leave(&e);
	if (number > 0)
		check(epoch_open(&older, &queue, number - 1) == -1 &&
		    errno == ESTALE);
	epoch_close(&e);
}

static void
check_pid(struct span text)
{
	struct presence p;
	char number[24];

	close(write_file("server.pid", text));
	presence_look(&queue, &p);
	check(!p.up && !p.ours && p.pid >= 0);
	snprintf(number, sizeof(number), "%ld", (long)p.pid);
	while (text.n > 1 && *text.p == '0') {
		text.p++;
		text.n--;
	}
	if (p.pid != 0)
		check(text.n >= strlen(number) &&
		    memcmp(text.p, number, strlen(number)) == 0);
}

static void
check_status(const struct lockstatus *s)
{
	struct buf text = { 0 };
	struct json j = { .tokens = NULL };
	size_t i;

	check(s->holder.pid >= 0);
	check(memchr(s->holder.command, '\0', HOLDER_COMMAND_SIZE) != NULL);
	lockstatus_put_text(&text, s);
	check(fuzz_is_line(buf_span(&text)));
	for (i = 0; i + 1 < text.len; i++)
		check(text.data[i] >= ' ' && text.data[i] <= '~');
	buf_reset(&text, 4096);
	lockstatus_put_json(&text, s);
	check(fuzz_is_line(buf_span(&text)));
	check(json_parse(&j, buf_span(&text)) == 0 && json_size(&j, 0) == 6);
	json_free(&j);
	buf_free(&text);
}

/* ours: a note of this process, of which the text is the command. */
static void
check_lock(struct span text, bool ours)
{
	char path[64], mark[64] = "";
	struct lockstatus s;
	struct buf note = { 0 };
	int fd;

	if (ours)
		snprintf(mark, sizeof(mark), "pc-lock %ld 5 ", (long)getpid());
	buf_add_str(&note, mark);
	buf_add_span(&note, text);
	fd = write_file("lock", buf_span(&note));
	buf_free(&note);
	snprintf(path, sizeof(path), "%s/lock", folder);
	check(flock(fd, LOCK_EX) == 0);
	check(lockstatus_look(&s, path, false) == 0);
	check(s.state == LOCKDIR_HELD);
	check_status(&s);
	close(fd);
}

/* The pid's file, a byte 1, and the owner's. */
static void
check_lock_folder(struct span text)
{
	struct span pid = fuzz_cut(&text, '\1');
	char path[64];
	struct lockstatus s;

	(void)mkdirat(queue.root, "held", 0700);
	close(write_file("held/pid", pid));
	close(write_file("held/owner.json", text));
	snprintf(path, sizeof(path), "%s/held", folder);
	check(lockstatus_look(&s, path, true) == 0);
	check_status(&s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span text = { (const char *)data + 9, len - 9 };
	uint64_t number;

	if (len < 9)
		return 0;
	if (queue.dir == NULL) {
		check(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
		check(queue_open(&queue, folder, QUEUE_CREATE) == 0);
	}
	memcpy(&number, data + 1, sizeof(number));
	switch (data[0] & 3) {
	case 0:
		check_epoch(text, number);
		break;
	case 1:
		check_pid(text);
		break;
	case 2:
		check_lock(text, (data[0] & 4) != 0);
		break;
	default:
		check_lock_folder(text);
	}
	return 0;
}
