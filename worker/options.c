/*
 * options.c
 *		What the command line says.
 */
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "handler.h"
#include "log.h"
#include "memory.h"
#include "number.h"
#include "options.h"
#include "text.h"

#define MOST_CONCURRENCY 256
#define MOST_FLOWS 64
#define MOST_WEIGHT 1000

/* Files that are open besides those of handlers: the connection, logs, and what libraries open for a moment. */
#define SPARE_FILES 32

#define MOST_BATCH 10000
/* Their token is in the handler's environment, where Linux lets a variable have 128 kB. */
#define MOST_EVENTS_PER_RUN 1000
#define MOST_SECONDS (366 * 86400.0)
#define MOST_REPORT (512L * 1024 * 1024)
#define MOST_NAME 255

static const char help[] =
	"evq-worker runs a program once for each event of one or several flows, or for each batch of them.\n"
	"\n"
	"Usage: evq-worker --flow FLOW[=WEIGHT] [OPTION]... [--] HANDLER [ARGUMENT]...\n"
	"\n"
	"What to take:\n"
	"  -f, --flow=FLOW[=WEIGHT] the flow whose events to acquire; may be given more than once: where several have work, each\n"
	"                           has a share of the events by its weight, 1 to 1000 (default 1)\n"
	"  -t, --types=TYPE,...     only events of these types\n"
	"  -c, --concurrency=N      how many handlers run at once, 1 to 256 (default 1)\n"
	"  -b, --batch=N            how many events one call acquires at most (default: as many as are free to run)\n"
	"      --events-per-run=N   runs the handler once for up to N events, as one batch, 1 to 1000\n"
	"      --permit-for=SECONDS how long a permit holds without heartbeat (default: the type's attempt_timeout)\n"
	"\n"
	"Where from:\n"
	"  -d, --dbname=CONNINFO    database, connection string or URI (default: PGHOST, PGDATABASE, ...)\n"
	"  -n, --name=NAME          name of this worker in evq (default: host/process id)\n"
	"      --poll=SECONDS       asks for events when nothing was heard for so long (default 5; 1 with --no-listen)\n"
	"      --no-listen          does without LISTEN, for poolers in transaction mode\n"
	"\n"
	"How to run:\n"
	"      --timeout=SECONDS    how long a handler may run; 0 = no limit (default: the type's attempt_timeout, and no\n"
	"                           limit with --permit-for)\n"
	"      --heartbeat=SECONDS  longest time between heartbeats (default 30)\n"
	"      --snooze=SECONDS     when to offer an event again whose handler exits with 75 (default 60)\n"
	"      --grace=SECONDS      from SIGTERM to SIGKILL for a handler that must end (default 10)\n"
	"      --drain=SECONDS      how long to wait for handlers when told to end (default 30)\n"
	"      --report-stdout      takes what handlers print for their reports, and logs none of it\n"
	"      --max-report=BYTES   most that a handler may report (default 4194304)\n"
	"      --show-stderr        logs the lines that handlers write to stderr\n"
	"      --quiet              logs warnings and errors only\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"The handler gets the event as JSON on stdin and as EVQ_EVENT_ID, EVQ_EVENT_TYPE, ... in its environment.\n"
	"Exit status 0 is success; the handler may write {\"result\": ..., \"spinoffs\": [{\"event_type\": ..., \"payload\": ...}]}\n"
	"to the file named by EVQ_REPORT. 75 is \"not now\", with {\"snooze_seconds\": N} there if wanted. 79 says that the handler\n"
	"has reported by itself. 65 is a failure that is not to be tried again, anything else a failure, each with the end of\n"
	"stderr as its message. What a handler prints to stdout is logged.\n"
	"\n"
	"With --events-per-run it gets the events as lines of JSON on stdin, and EVQ_TOKEN and EVQ_EVENTS, their number. What it\n"
	"writes to EVQ_REPORT are lines of JSON, for those events that went otherwise than its exit status says:\n"
	"{\"event_id\": ..., \"error_message\": ...}, or with \"snooze_seconds\", or with \"result\" and \"spinoffs\", or none of these\n"
	"for a success.\n";

enum LongOnly
{
	OPT_PERMIT_FOR = 256,
	OPT_EVENTS_PER_RUN,
	OPT_POLL,
	OPT_NO_LISTEN,
	OPT_HEARTBEAT,
	OPT_SNOOZE,
	OPT_GRACE,
	OPT_DRAIN,
	OPT_REPORT_STDOUT,
	OPT_MAX_REPORT,
	OPT_TIMEOUT,
	OPT_SHOW_STDERR,
	OPT_QUIET
};

static const struct option long_options[] = {{"flow", required_argument, NULL, 'f'},
											 {"types", required_argument, NULL, 't'},
											 {"concurrency", required_argument, NULL, 'c'},
											 {"batch", required_argument, NULL, 'b'},
											 {"events-per-run", required_argument, NULL, OPT_EVENTS_PER_RUN},
											 {"permit-for", required_argument, NULL, OPT_PERMIT_FOR},
											 {"dbname", required_argument, NULL, 'd'},
											 {"name", required_argument, NULL, 'n'},
											 {"poll", required_argument, NULL, OPT_POLL},
											 {"no-listen", no_argument, NULL, OPT_NO_LISTEN},
											 {"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
											 {"snooze", required_argument, NULL, OPT_SNOOZE},
											 {"grace", required_argument, NULL, OPT_GRACE},
											 {"drain", required_argument, NULL, OPT_DRAIN},
											 {"report-stdout", no_argument, NULL, OPT_REPORT_STDOUT},
											 {"max-report", required_argument, NULL, OPT_MAX_REPORT},
											 {"timeout", required_argument, NULL, OPT_TIMEOUT},
											 {"show-stderr", no_argument, NULL, OPT_SHOW_STDERR},
											 {"quiet", no_argument, NULL, OPT_QUIET},
											 {"help", no_argument, NULL, 'h'},
											 {"version", no_argument, NULL, 'V'},
											 {NULL, 0, NULL, 0}};

static void refuse(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void
refuse(const char *format, ...)
{
	va_list arguments;

	fputs("evq-worker: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("\nTry \"evq-worker --help\".\n", stderr);
	exit(EX_USAGE);
}

static long
whole_number(const char *option, const char *value, long least, long most)
{
	long number;

	if (!number_read(value, least, most, &number))
		refuse("--%s takes a whole number from %ld to %ld, not \"%s\"", option, least, most, value);
	return number;
}

static double
seconds(const char *option, const char *value, double least)
{
	char *end;
	double number = strtod(value, &end);

	if (end == value || *end != '\0' || !isfinite(number) || number < least || number > MOST_SECONDS)
		refuse("--%s takes seconds from %g to %.0f, not \"%s\"", option, least, MOST_SECONDS, value);
	return number;
}

static Millis
duration(const char *option, const char *value, double least)
{
	return (Millis) (seconds(option, value, least) * 1000);
}

/* A character of an element in quotes, of an array as PostgreSQL reads it. */
static void
add_quoted(Buffer *array, const char *character)
{
	if (*character == '"' || *character == '\\')
		buffer_text(array, "\\");
	buffer_append(array, character, 1);
}

/* "A,B" as {"A","B"}. */
static const char *
type_list(const char *value)
{
	Buffer array = {0};
	const char *at = value;

	buffer_text(&array, "{\"");
	for (; *at != '\0'; at++)
	{
		if (*at == ',')
		{
			if (at == value || at[-1] == ',')
				break;
			buffer_text(&array, "\",\"");
			continue;
		}
		add_quoted(&array, at);
	}
	if (*at != '\0' || at == value || at[-1] == ',')
		refuse("--types takes event types with a comma between two, not \"%s\"", value);
	buffer_text(&array, "\"}");
	return array.data;
}

/* "FLOW" or "FLOW=WEIGHT". */
static void
add_flow(Options *options, const char *value)
{
	const char *equals = strchr(value, '=');
	long weight = 1;
	const char *name;

	if (value[0] == '\0' || value == equals)
		refuse("--flow takes the name of a flow");
	if (options->flow_count == MOST_FLOWS)
		refuse("--flow can be given %d times", MOST_FLOWS);
	if (equals != NULL && !number_read(equals + 1, 1, MOST_WEIGHT, &weight))
		refuse("--flow takes a weight from 1 to %d, not \"%s\"", MOST_WEIGHT, equals + 1);
	name = equals == NULL ? value : memory_text(value, (size_t) (equals - value));
	for (int i = 0; i < options->flow_count; i++)
	{
		if (strcmp(options->flow_names[i], name) == 0)
			refuse("--flow names \"%s\" twice", name);
	}
	options->flow_weights[options->flow_count] = (int) weight;
	options->flow_names[options->flow_count++] = name;
}

/* As PostgreSQL reads an array of text. */
static const char *
array_of(const char **names, int count)
{
	Buffer array = {0};

	for (int i = 0; i < count; i++)
	{
		buffer_text(&array, i == 0 ? "{\"" : "\",\"");
		for (const char *at = names[i]; *at != '\0'; at++)
		{
			add_quoted(&array, at);
		}
	}
	buffer_text(&array, "\"}");
	return array.data;
}

/* The handlers' pipes and what else is open must fit into the limit, which is raised where that may be. */
static void
limit_files(Options *options)
{
	rlim_t needed = SPARE_FILES + (rlim_t) options->concurrency * HANDLER_PIPES + HANDLER_PIPES;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	options->file_limit = files.rlim_cur;
	if (files.rlim_cur >= needed)
		return;
	files.rlim_cur = needed < files.rlim_max ? needed : files.rlim_max;
	if (files.rlim_cur < needed || setrlimit(RLIMIT_NOFILE, &files) != 0)
		refuse(
			"--concurrency=%d needs %lu open files, the limit is %lu; raise it (ulimit -n), or lower --concurrency",
			options->concurrency, (unsigned long) needed, (unsigned long) files.rlim_max);
}

static const char *
default_name(void)
{
	char host[HOST_NAME_MAX + 1] = "";
	char id[32];
	Buffer name = {0};

	if (gethostname(host, sizeof(host) - 1) != 0)
		snprintf(host, sizeof(host), "unknown");
	snprintf(id, sizeof(id), "/%ld", (long) getpid());
	buffer_text(&name, host);
	buffer_text(&name, id);
	return name.data;
}

static const char *
checked_name(const char *value)
{
	if (value[0] == '\0' || strlen(value) > MOST_NAME)
		refuse("--name takes 1 to %d bytes", MOST_NAME);
	return value;
}

static bool
is_program(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Is there such a program, as execvp() would look for it? */
static bool
can_be_found(const char *program)
{
	const char *folder = getenv("PATH");
	bool found = false;

	if (strchr(program, '/') != NULL)
		return is_program(program);
	if (folder == NULL)
		folder = "/bin:/usr/bin";
	while (!found)
	{
		size_t length = strcspn(folder, ":");
		Buffer path = {0};

		buffer_append(&path, length > 0 ? folder : ".", length > 0 ? length : 1);
		buffer_text(&path, "/");
		buffer_text(&path, program);
		found = is_program(path.data);
		buffer_free(&path);
		if (folder[length] == '\0')
			break;
		folder += length + 1;
	}
	return found;
}

void
options_read(int argc, char **argv, Options *options)
{
	bool poll_given = false;
	int option;

	*options = (Options){
		.concurrency = 1,
		.listen = true,
		.poll = 5000,
		.heartbeat = 30000,
		.grace = 10000,
		.drain = 30000,
		.snooze = 60,
		.timeout = -1,
		.max_report = 4194304,
		.flow_names = memory_array(MOST_FLOWS, sizeof(char *)),
		.flow_weights = memory_array(MOST_FLOWS, sizeof(int)),
	};

	/* The first word that is no option begins the handler's command. */
	while ((option = getopt_long(argc, argv, "+f:t:c:b:d:n:hV", long_options, NULL)) != -1)
	{
		switch (option)
		{
			case 'f':
				add_flow(options, optarg);
				break;
			case 't':
				options->types = type_list(optarg);
				break;
			case 'c':
				options->concurrency = (int) whole_number("concurrency", optarg, 1, MOST_CONCURRENCY);
				break;
			case 'b':
				options->batch = (int) whole_number("batch", optarg, 1, MOST_BATCH);
				break;
			case 'd':
				options->conninfo = optarg;
				break;
			case 'n':
				options->name = checked_name(optarg);
				break;
			case OPT_EVENTS_PER_RUN:
				options->events_per_run = (int) whole_number("events-per-run", optarg, 1,
															 MOST_EVENTS_PER_RUN);
				break;
			case OPT_PERMIT_FOR:
				options->permit_for = seconds("permit-for", optarg, 0.1);
				break;
			case OPT_POLL:
				options->poll = duration("poll", optarg, 0.01);
				poll_given = true;
				break;
			case OPT_NO_LISTEN:
				options->listen = false;
				break;
			case OPT_HEARTBEAT:
				options->heartbeat = duration("heartbeat", optarg, 0.1);
				break;
			case OPT_SNOOZE:
				options->snooze = seconds("snooze", optarg, 0);
				break;
			case OPT_GRACE:
				options->grace = duration("grace", optarg, 0);
				break;
			case OPT_DRAIN:
				options->drain = duration("drain", optarg, 0);
				break;
			case OPT_TIMEOUT:
				options->timeout = duration("timeout", optarg, 0);
				break;
			case OPT_REPORT_STDOUT:
				options->reports_on_stdout = true;
				break;
			case OPT_MAX_REPORT:
				options->max_report = (size_t) whole_number("max-report", optarg, 0, MOST_REPORT);
				break;
			case OPT_SHOW_STDERR:
				options->show_stderr = true;
				break;
			case OPT_QUIET:
				log_quietly();
				break;
			case 'h':
				fputs(help, stdout);
				exit(EXIT_SUCCESS);
			case 'V':
				puts("evq-worker " EVQ_VERSION);
				exit(EXIT_SUCCESS);
			default: /* getopt_long() has said what is wrong */
				fputs("Try \"evq-worker --help\".\n", stderr);
				exit(EX_USAGE);
		}
	}

	if (options->flow_count == 0)
		refuse("--flow is missing: which flow's events?");
	options->flows = array_of(options->flow_names, options->flow_count);
	if (optind >= argc)
		refuse("the handler is missing: which program shall be run for each event?");
	options->command = argv + optind;
	if (!can_be_found(options->command[0]))
		refuse("the handler \"%s\" is not a program that can be run", options->command[0]);
	if (options->name == NULL)
		options->name = default_name();
	if (options->batch > 0 && options->events_per_run > 0)
		refuse("--batch is for handlers of one event, a call acquires --events-per-run of them");
	if (options->batch == 0)
		options->batch = options->concurrency;
	if (!options->listen && !poll_given)
		options->poll = 1000;
	limit_files(options);
}
