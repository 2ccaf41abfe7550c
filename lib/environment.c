#include <string.h>

#include "id.h"
#include "leasing.h"

/* --- problems --------------------------------------------------------------- */

int
environment_not_found(const char *selector, struct problem *p)
{
	return problem_set(p, PROBLEM_INPUT, "environment_not_found",
	    "Environment \"%s\" not found.", selector);
}

int
environment_inactive(const struct environment *e, struct problem *p)
{
	return problem_set(p, PROBLEM_INPUT, "environment_inactive",
	    "Environment \"%s\" is not active (status: %s).", e->name,
	    e->status);
}

static int
exists(const char *name, struct problem *p)
{
	return problem_set(p, PROBLEM_NO, "environment_exists",
	    "Environment \"%s\" exists already.", name);
}

/* --- rows ------------------------------------------------------------------- */

int
environment_take_row(struct store *s, struct environment *e,
    struct fields_memory *m, struct problem *p)
{
	char **texts[] = { &e->id, &e->company, &e->name, &e->driver,
	    &e->status, &e->config, &e->fingerprint };
	int i;

	for (i = 0; i < 7; i++)
		if ((*texts[i] = leasing_keep(m, store_text(s, i), p)) ==
		    NULL)
			return -1;
	e->created = store_number(s, 7);
	e->updated = store_number(s, 8);
	e->is_default = store_number(s, 9) != 0;
	e->token = store_number(s, 10);
	return 0;
}

/* A row that a statement gives: 1, 0 when there is none, -1 with p. */
static int
take_one(struct store *s, struct environment *e, struct fields_memory *m,
    struct problem *p)
{
	int found = store_next(s, p);

	if (found == 1 && environment_take_row(s, e, m, p) == -1)
		return -1;
	return found;
}

/* Our ids are UUIDs, and a name that looks like one is refused. */
bool
environment_is_id(const char *selector)
{
	size_t i;

	if (strlen(selector) != ID_NEW_SIZE - 1)
		return false;
	for (i = 0; selector[i] != '\0'; i++)
		if (strchr(i == 8 || i == 13 || i == 18 || i == 23 ? "-" :
		    "0123456789abcdef", selector[i]) == NULL)
			return false;
	return true;
}

static int
look_up(struct store *s, const struct caller *c, const char *selector,
    struct environment *e, struct fields_memory *m, struct problem *p)
{
	int result;

	if (selector == NULL)
		result = STORE_RUN(s, p, "SELECT " ENVIRONMENT_COLUMNS
		    " FROM pc_environments WHERE company = $1 "
		    "AND is_default = 1", c->company);
	else if (environment_is_id(selector))
		result = STORE_RUN(s, p, "SELECT " ENVIRONMENT_COLUMNS
		    " FROM pc_environments WHERE company = $1 AND id = $2",
		    c->company, selector);
	else
		result = STORE_RUN(s, p, "SELECT " ENVIRONMENT_COLUMNS
		    " FROM pc_environments WHERE company = $1 AND name = $2",
		    c->company, selector);
	return result == -1 ? -1 : take_one(s, e, m, p);
}

static int
add_activity(struct store *s, const struct caller *c, const char *action,
    const struct environment *e, struct problem *p)
{
	struct buf details = { 0 };
	int result;

	buf_add_char(&details, '{');
	leasing_put_text(&details, "environmentId", e->id);
	leasing_put_text(&details, "name", e->name);
	leasing_put_text(&details, "driver", e->driver);
	leasing_put_text(&details, "status", e->status);
	buf_add_char(&details, '}');
	buf_add_char(&details, '\0');
	result = buf_failed(&details) ? problem_memory(p) :
	    activity_add(s, &(struct activity){ .company = c->company,
	    .actor = c->actor, .run = c->run, .action = action,
	    .kind = "environment", .entity = e->id,
	    .details = details.data }, p);
	buf_free(&details);
	return result;
}

/* --- changes ---------------------------------------------------------------- */

static int
check_name(const char *name, struct problem *p)
{
	if (*name == '\0' || environment_is_id(name))
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "name: %s", *name == '\0' ? "empty" : "like an id");
	return leasing_check_text("name", name, LEASING_TEXT_MAX, p);
}

static int
check_driver(const char *driver, struct problem *p)
{
	static const char *const drivers[] = { "local", "ssh", "sandbox",
	    "plugin" };
	size_t i;

	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(driver, drivers[i]) == 0)
			return 0;
	return problem_set(p, PROBLEM_INPUT, "unsupported_environment",
	    "driver: not one of local, ssh, sandbox, plugin");
}

/* What a row is to be, and the fingerprint of that. */
struct draft {
	const char *name, *driver, *status;
	struct buf config;
	char fingerprint[SHA256_HEX_SIZE];
};

static int
make_draft(struct draft *d, const struct environment_change *what,
    const struct environment *old, struct problem *p)
{
	struct environment_config c;
	int result;

	d->name = what->name != NULL ? what->name : old->name;
	d->driver = what->driver != NULL ? what->driver : old->driver;
	d->status = what->status != NULL ? what->status : old->status;
	if (check_name(d->name, p) == -1 || check_driver(d->driver, p) == -1)
		return -1;
	if (what->config != NULL &&
	    leasing_check_object("config", what->config, p) == -1)
		return -1;
	if (strcmp(d->status, "active") != 0 &&
	    strcmp(d->status, "archived") != 0)
		return problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "status: not active or archived");
	leasing_put_compact(&d->config,
	    what->config != NULL ? what->config : old->config);
	buf_add_char(&d->config, '\0');
	if (buf_failed(&d->config))
		return problem_memory(p);
	if ((result = environment_config_read(&c, d->config.data, p)) == 0)
		environment_fingerprint(d->driver, &c, d->fingerprint);
	environment_config_free(&c);
	return result;
}

/* One of a company is the default; who is made so, takes it over. */
static int
clear_default(struct store *s, const struct caller *c, struct problem *p)
{
	return STORE_RUN(s, p, "UPDATE pc_environments SET is_default = 0 "
	    "WHERE company = $1 AND is_default = 1", c->company);
}

static int
insert(struct store *s, const struct caller *c, const struct draft *d,
    bool make_default, struct environment *e, struct fields_memory *m,
    struct problem *p)
{
	char id[ID_NEW_SIZE];
	int found;

	if (id_make(ID_PLAIN, id) == -1)
		return problem_set(p, PROBLEM_LATER, "system",
		    "no random numbers");
	if (make_default && clear_default(s, c, p) == -1)
		return -1;
	if (STORE_RUN(s, p, "INSERT INTO pc_environments "
	    "(" ENVIRONMENT_COLUMNS ") VALUES ($1, $2, $3, $4, 'active', "
	    "$5, $6, pc_now(), pc_now(), CAST($7 AS INTEGER), 0) "
	    "ON CONFLICT (company, name) DO NOTHING "
	    "RETURNING " ENVIRONMENT_COLUMNS, id, c->company, d->name,
	    d->driver, d->config.data, d->fingerprint,
	    make_default ? "1" : "0") == -1 ||
	    (found = take_one(s, e, m, p)) == -1)
		return -1;
	if (found == 0)
		return exists(d->name, p);
	return add_activity(s, c, "environment.created", e, p);
}

int
environment_add(struct store *s, const struct caller *c,
    const struct environment_change *what, struct environment *e,
    struct fields_memory *m, struct problem *p)
{
	static char empty[] = "", local[] = "local", none[] = "{}",
	    active[] = "active";
	const struct environment fresh = { .name = empty, .driver = local,
	    .status = active, .config = none };
	struct draft d = { .config = { .data = NULL } };
	int result = -1;

	if (leasing_check_caller(c, p) == 0 &&
	    make_draft(&d, what, &fresh, p) == 0 &&
	    store_begin(s, STORE_WRITE, p) == 0 &&
	    insert(s, c, &d, what->make_default, e, m, p) == 0)
		result = store_commit(s, p);
	store_rollback(s);
	buf_free(&d.config);
	return result;
}

/* A name that another has makes it no row. */
static int
update(struct store *s, const struct caller *c, const struct draft *d,
    const struct environment_change *what, struct environment *e,
    struct fields_memory *m, struct problem *p)
{
	int found;

	if (what->make_default && clear_default(s, c, p) == -1)
		return -1;
	if (STORE_RUN(s, p, "UPDATE pc_environments SET name = $3, "
	    "driver = $4, status = $5, config = $6, fingerprint = $7, "
	    "is_default = CASE WHEN $8 = '1' THEN 1 ELSE is_default END, "
	    "updated = pc_now() WHERE company = $1 AND id = $2 AND "
	    "NOT EXISTS (SELECT 1 FROM pc_environments AS other WHERE "
	    "other.company = $1 AND other.name = $3 AND other.id <> $2) "
	    "RETURNING " ENVIRONMENT_COLUMNS, c->company, e->id, d->name,
	    d->driver, d->status, d->config.data, d->fingerprint,
	    what->make_default ? "1" : "0") == -1 ||
	    (found = take_one(s, e, m, p)) == -1)
		return -1;
	if (found == 0)
		return exists(d->name, p);
	return add_activity(s, c, strcmp(d->status, "archived") == 0 ?
	    "environment.archived" : "environment.updated", e, p);
}

int
environment_set(struct store *s, const struct caller *c,
    const char *selector, const struct environment_change *what,
    struct environment *e, struct fields_memory *m, struct problem *p)
{
	struct draft d = { .config = { .data = NULL } };
	int found, result = -1;

	if (leasing_check_caller(c, p) == -1 ||
	    leasing_check_text("environment", selector, LEASING_TEXT_MAX,
	    p) == -1)
		return -1;
	if (store_begin(s, STORE_WRITE, p) == 0 &&
	    (found = look_up(s, c, selector, e, m, p)) != -1) {
		if (found == 0)
			(void)environment_not_found(selector, p);
		else if (make_draft(&d, what, e, p) == 0 &&
		    update(s, c, &d, what, e, m, p) == 0)
			result = store_commit(s, p);
	}
	store_rollback(s);
	buf_free(&d.config);
	return result;
}

/* --- looking ---------------------------------------------------------------- */

/* 1, 0 when there is none, -1 with p. */
static int
find(struct store *s, const struct caller *c, const char *selector,
    struct environment *e, struct fields_memory *m, struct problem *p)
{
	int found = -1;

	if (leasing_check_caller(c, p) == -1 || (selector != NULL &&
	    leasing_check_text("environment", selector, LEASING_TEXT_MAX,
	    p) == -1))
		return -1;
	if (store_begin(s, STORE_READ, p) == 0)
		found = look_up(s, c, selector, e, m, p);
	store_rollback(s);
	return found;
}

int
environment_find(struct store *s, const struct caller *c,
    const char *selector, struct environment *e, struct fields_memory *m,
    struct problem *p)
{
	int found = find(s, c, selector, e, m, p);

	return found == 0 ? environment_not_found(selector != NULL ?
	    selector : "default", p) : found == 1 ? 0 : -1;
}

/* Another may make it at the same time: then that one is the default. */
static int
make_local(struct store *s, const struct caller *c, struct environment *e,
    struct fields_memory *m, struct problem *p)
{
	const struct environment_change local = { .name = "local",
	    .make_default = true };
	const struct environment_change old = { .make_default = true };
	struct problem first = { .kind = PROBLEM_NONE };
	int result = environment_add(s, c, &local, e, m, &first);

	if (result == -1 && first.kind == PROBLEM_NO)
		result = environment_set(s, c, "local", &old, e, m, p);
	else if (result == -1)
		(void)problem_set(p, first.kind, first.code, "%s",
		    problem_text(&first));
	problem_clear(&first);
	return result;
}

int
environment_resolve(struct store *s, const struct caller *c,
    const char *selector, struct environment *e, struct fields_memory *m,
    struct problem *p)
{
	int found = find(s, c, selector, e, m, p);

	if (found == -1)
		return -1;
	if (found == 0 && selector != NULL)
		return environment_not_found(selector, p);
	if (found == 0 && make_local(s, c, e, m, p) == -1)
		return -1;
	return strcmp(e->status, "active") == 0 ? 0 :
	    environment_inactive(e, p);
}

const char *
environment_choose(const char *const levels[static LEVELS])
{
	int i;

	for (i = 0; i < LEVELS; i++)
		if (levels[i] != NULL && *levels[i] != '\0')
			return levels[i];
	return NULL;
}

static int
list_rows(struct store *s,
    void (*each)(void *arg, const struct environment *e), void *arg,
    struct problem *p)
{
	struct fields_memory m = { .first = NULL };
	struct environment e;
	int more;

	while ((more = store_next(s, p)) == 1) {
		if (environment_take_row(s, &e, &m, p) == -1)
			more = -1;
		else
			each(arg, &e);
		fields_free(&m);
		if (more == -1)
			break;
	}
	return more;
}

int
environment_list(struct store *s, const struct caller *c,
    void (*each)(void *arg, const struct environment *e), void *arg,
    struct problem *p)
{
	int result = -1;

	if (leasing_check_caller(c, p) == 0 &&
	    store_begin(s, STORE_READ, p) == 0 &&
	    STORE_RUN(s, p, "SELECT " ENVIRONMENT_COLUMNS " FROM "
	    "pc_environments WHERE company = $1 ORDER BY name",
	    c->company) == 0)
		result = list_rows(s, each, arg, p);
	store_rollback(s);
	return result;
}
