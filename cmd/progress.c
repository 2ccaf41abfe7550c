#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "progress.h"

#define STEP_MS		2000	/* a line at least so often, if it moved */
#define STEP_PERCENT	10
#define TERMINAL_MS	100

static double
megabytes(uint64_t bytes)
{
	return (double)bytes / 1000000.0;
}

static unsigned
percent(const struct progress *p)
{
	if (p->total == 0)
		return 0;
	if (p->done >= p->total)
		return 100;
	return (unsigned)((double)p->done * 100.0 / (double)p->total);
}

/* Bytes a second, and the time that is left, where a person looks on. */
static void
say_rate(const struct progress *p, int64_t now)
{
	double seconds = (double)(now - p->started) / 1000.0;
	double rate = seconds > 0 ? (double)p->done / seconds : 0;

	if (rate <= 0)
		return;
	fprintf(stderr, " %.1f MB/s", rate / 1000000.0);
	if (p->total > p->done)
		fprintf(stderr, " %.0f s left",
		    (double)(p->total - p->done) / rate);
}

/* Nothing for NULL; a name may be anything. */
static void
say_word(const char *word)
{
	struct buf text = { 0 };

	if (word == NULL)
		return;
	cli_put_escaped(&text, word);
	fprintf(stderr, " %.*s", (int)text.len, text.len > 0 ? text.data : "");
	buf_free(&text);
}

static void
say(struct progress *p, int64_t now)
{
	fprintf(stderr, "%s[paperclip]", p->terminal ? "\r" : "");
	say_word(p->phase);
	say_word(p->label);
	say_word(p->direction);
	say_word(p->target);
	fputs(": ", stderr);
	if (p->total > 0)
		fprintf(stderr, "%u%% (%.1f/%.1f MB)", percent(p),
		    megabytes(p->done), megabytes(p->total));
	else
		fprintf(stderr, "%.1f MB", megabytes(p->done));
	if (p->terminal) {
		say_rate(p, now);
		fputs("\033[K", stderr);
	} else {
		fputc('\n', stderr);
	}
	fflush(stderr);
	p->said = now;
	p->said_percent = percent(p);
}

static void
moved(void *arg, uint64_t bytes)
{
	struct progress *p = arg;
	int64_t now = clock_mono_ms();

	p->done += bytes;
	if (now - p->said >= (p->terminal ? TERMINAL_MS : STEP_MS) ||
	    (!p->terminal && percent(p) < 100 &&
	    percent(p) >= p->said_percent + STEP_PERCENT))
		say(p, now);
}

bool
progress_wanted(bool plain)
{
	return plain || isatty(STDERR_FILENO);
}

const struct meter *
progress_start(struct progress *p)
{
	p->shown = progress_wanted(p->plain);
	p->terminal = !p->plain && isatty(STDERR_FILENO);
	p->started = p->said = clock_mono_ms();
	p->meter = (struct meter){ .moved = moved, .arg = p };
	return p->shown ? &p->meter : NULL;
}

void
progress_end(struct progress *p, bool complete)
{
	if (!p->shown)
		return;
	if (complete) {
		if (p->total > 0)
			p->total = p->done;
		say(p, clock_mono_ms());
	}
	if (p->terminal)
		fputc('\n', stderr);
}
