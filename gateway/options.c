/*
 * options.c
 *		What the program was started with.
 */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"
#include "number.h"
#include "routes.h"

#define LARGEST_FILE (1024 * 1024)

Options options = {
	.listen = "127.0.0.1",
	.port = 8080,
	.connections = 8,
	.max_header = 32768,
	.max_body = 4194304,
	.max_connections = 1000,
	.max_connections_per_client = 100,
	.stream_backlog = 1000,
	.statement_timeout = 30,
	.header_timeout = 10,
	.body_timeout = 30,
	.idle_timeout = 60,
	.stop_timeout = 10,
};
Tokens tokens;

enum
{
	OPTION_TOKENS = 256,
	OPTION_ANONYMOUS_ROLE,
	OPTION_HOST,
	OPTION_ORIGIN,
	OPTION_TLS_CERTIFICATE,
	OPTION_TLS_KEY,
	OPTION_INSECURE,
	OPTION_MCP_WRITE,
	OPTION_MCP_STDIO,
	OPTION_LOG_LEVEL,
	OPTION_ROUTES,
	OPTION_NUMBER
};

/* Options that are numbers. */
static const struct
{
	const char *name;
	int *value;
	int least;
	int most;
} numbers[] = {
	{"port", &options.port, 0, 65535},
	{"connections", &options.connections, 1, 200},
	{"max-header", &options.max_header, 4096, 1048576},
	{"max-body", &options.max_body, 1024, 1073741824},
	{"max-connections", &options.max_connections, 1, 100000},
	{"max-connections-per-client", &options.max_connections_per_client, 0, 100000},
	{"stream-backlog", &options.stream_backlog, 100, 1000000},
	{"statement-timeout", &options.statement_timeout, 1, 3600},
	{"header-timeout", &options.header_timeout, 1, 3600},
	{"body-timeout", &options.body_timeout, 1, 3600},
	{"idle-timeout", &options.idle_timeout, 1, 3600},
	{"stop-timeout", &options.stop_timeout, 1, 3600},
};
#define NUMBER_COUNT (sizeof(numbers) / sizeof(numbers[0]))

static const struct option long_options[] = {
	{"listen", required_argument, NULL, 'l'},
	{"port", required_argument, NULL, OPTION_NUMBER},
	{"database", required_argument, NULL, 'd'},
	{"connections", required_argument, NULL, OPTION_NUMBER + 1},
	{"tokens", required_argument, NULL, OPTION_TOKENS},
	{"anonymous-role", required_argument, NULL, OPTION_ANONYMOUS_ROLE},
	{"host", required_argument, NULL, OPTION_HOST},
	{"origin", required_argument, NULL, OPTION_ORIGIN},
	{"tls-certificate", required_argument, NULL, OPTION_TLS_CERTIFICATE},
	{"tls-key", required_argument, NULL, OPTION_TLS_KEY},
	{"insecure", no_argument, NULL, OPTION_INSECURE},
	{"mcp-write", no_argument, NULL, OPTION_MCP_WRITE},
	{"mcp-stdio", no_argument, NULL, OPTION_MCP_STDIO},
	{"max-header", required_argument, NULL, OPTION_NUMBER + 2},
	{"max-body", required_argument, NULL, OPTION_NUMBER + 3},
	{"max-connections", required_argument, NULL, OPTION_NUMBER + 4},
	{"max-connections-per-client", required_argument, NULL, OPTION_NUMBER + 5},
	{"stream-backlog", required_argument, NULL, OPTION_NUMBER + 6},
	{"statement-timeout", required_argument, NULL, OPTION_NUMBER + 7},
	{"header-timeout", required_argument, NULL, OPTION_NUMBER + 8},
	{"body-timeout", required_argument, NULL, OPTION_NUMBER + 9},
	{"idle-timeout", required_argument, NULL, OPTION_NUMBER + 10},
	{"stop-timeout", required_argument, NULL, OPTION_NUMBER + 11},
	{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
	{"routes", no_argument, NULL, OPTION_ROUTES},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static const char help[] =
	"evq-gateway serves evq over HTTP: events, workers, live updates, metrics.\n"
	"\n"
	"Usage: evq-gateway [OPTION...] [DATABASE]\n"
	"\n"
	"  -d, --database=STRING           name or connection string of the database (default: PGHOST, PGDATABASE, ...)\n"
	"      --connections=N             database connections for changes (8); others are for the rest\n"
	"      --statement-timeout=SECONDS longest time of a request in the database (30)\n"
	"\n"
	"  -l, --listen=ADDRESS            address to listen at (127.0.0.1)\n"
	"  -p, --port=PORT                 port to listen at; 0 = any that is free (8080)\n"
	"      --host=NAME[:PORT]          another name that this server goes by; may be repeated\n"
	"      --origin=ORIGIN             web pages of this origin may call, such as https://shop.example; may be repeated\n"
	"      --tls-certificate=FILE      serve HTTPS with this certificate (PEM)\n"
	"      --tls-key=FILE              and its private key\n"
	"      --insecure                  listen beyond this machine without TLS or without tokens\n"
	"\n"
	"      --tokens=FILE               lines \"ROLE TOKEN\": bearer tokens and their database roles\n"
	"      --anonymous-role=ROLE       role of requests without a token\n"
	"      --mcp-write                 offer MCP tools that change something, as far as the role may use them\n"
	"      --mcp-stdio                 speak MCP on standard input and output, for the client that starts this, and no HTTP\n"
	"\n"
	"      --max-header=BYTES          largest request header (32768)\n"
	"      --max-body=BYTES            largest request body (4194304)\n"
	"      --max-connections=N         most connections at once (1000)\n"
	"      --max-connections-per-client=N\n"
	"                                  most connections from one address; 0 = no limit (100)\n"
	"      --stream-backlog=N          a live stream that is so many messages late is dropped (1000)\n"
	"      --header-timeout=SECONDS    longest time until the first request's header is there (10)\n"
	"      --body-timeout=SECONDS      longest time until a body is there, and until an answer is taken (30)\n"
	"      --idle-timeout=SECONDS      longest time between two requests (60)\n"
	"      --stop-timeout=SECONDS      longest time for requests in flight when asked to stop (10)\n"
	"\n"
	"      --log-level=LEVEL           error, warning, info or debug (info)\n"
	"      --routes                    list the routes: method, path and SQL function\n"
	"  -h, --help                      show this help\n"
	"  -V, --version                   show the version\n"
	"\n"
	"SIGTERM stops it when the requests in flight are done; SIGHUP reads the tokens anew.\n";

static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
refuse(const char *format, ...)
{
	va_list arguments;

	fputs("evq-gateway: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("\nevq-gateway: --help lists the options\n", stderr);
	exit(2);
}

static void
read_number(size_t which, const char *text)
{
	long value;

	if (!number_read(text, numbers[which].least, numbers[which].most, &value))
		refuse("--%s is not a number from %d to %d: %s", numbers[which].name, numbers[which].least,
			   numbers[which].most, text);
	*numbers[which].value = (int) value;
}

static void
add_to_list(const char **list, int *count, const char *what, bool is_valid, const char *value)
{
	if (!is_valid)
		refuse("--%s: not a valid %s: %s", what, what, value);
	if (*count == HOSTS_MAX)
		refuse("--%s: more than %d", what, HOSTS_MAX);
	list[(*count)++] = value;
}

static bool
is_loopback(const char *address)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, address, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void
check(void)
{
	if ((options.tls_certificate == NULL) != (options.tls_key == NULL))
		refuse("--tls-certificate and --tls-key belong together");
	if (is_loopback(options.listen) || options.insecure)
		return;
	if (options.tls_certificate == NULL)
		refuse(
			"%s can be reached from other machines: add --tls-certificate and --tls-key, or --insecure where a proxy "
			"or a private network protects it",
			options.listen);
	if (options.token_file == NULL)
		refuse(
			"%s can be reached from other machines: add --tokens, or --insecure where everybody may do everything",
			options.listen);
}

static void
read_option(int option)
{
	switch (option)
	{
		case 'd':
			options.database = optarg;
			break;
		case 'l':
			options.listen = optarg;
			break;
		case 'p':
			read_number(0, optarg);
			break;
		case OPTION_TOKENS:
			options.token_file = optarg;
			break;
		case OPTION_ANONYMOUS_ROLE:
			options.anonymous_role = optarg;
			break;
		case OPTION_HOST:
			add_to_list(options.hosts.names, &options.hosts.name_count, "host", hosts_is_name(optarg),
						optarg);
			break;
		case OPTION_ORIGIN:
			add_to_list(options.hosts.origins, &options.hosts.origin_count, "origin", hosts_is_origin(optarg),
						optarg);
			break;
		case OPTION_TLS_CERTIFICATE:
			options.tls_certificate = optarg;
			break;
		case OPTION_TLS_KEY:
			options.tls_key = optarg;
			break;
		case OPTION_INSECURE:
			options.insecure = true;
			break;
		case OPTION_MCP_WRITE:
			options.mcp_write = true;
			break;
		case OPTION_MCP_STDIO:
			options.mcp_stdio = true;
			break;
		case OPTION_LOG_LEVEL:
			if (log_level_from_name(optarg) < 0)
				refuse("--log-level is error, warning, info or debug, not %s", optarg);
			log_level = (LogLevel) log_level_from_name(optarg);
			break;
		case OPTION_ROUTES:
			for (int i = 0; i < routes_count; i++)
				printf("%s %s %s\n", routes[i].method, routes[i].pattern, routes[i].function);
			exit(0);
		case 'h':
			fputs(help, stdout);
			exit(0);
		case 'V':
			puts("evq-gateway " EVQ_VERSION);
			exit(0);
		default:
			if (option < OPTION_NUMBER)
				refuse("an option is unknown or lacks its value");
			read_number((size_t) (option - OPTION_NUMBER), optarg);
	}
}

void
options_read(int argc, char **argv)
{
	int option;

	argv[0] = (char[]){"evq-gateway"};
	while ((option = getopt_long(argc, argv, "d:l:p:hV", long_options, NULL)) != -1)
		read_option(option);
	if (optind < argc && options.database == NULL)
		options.database = argv[optind++];
	if (optind < argc)
		refuse("one database is enough: %s", argv[optind]);
	check();
}

/* The contents of a file, with a NUL behind them; NULL where they cannot be had, which is logged. */
char *
options_read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;

	if (file != NULL)
	{
		text = memory_new(LARGEST_FILE + 1);
		*length = fread(text, 1, LARGEST_FILE, file);
		if (ferror(file))
		{
			free(text);
			text = NULL;
		}
		fclose(file);
	}
	if (text == NULL)
		log_write(LOG_LEVEL_ERROR, "cannot read file=%s error=\"%s\"", path, strerror(errno));
	return text;
}

static bool
is_private(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0)
	{
		log_write(LOG_LEVEL_ERROR, "cannot read file=%s error=\"%s\"", path, strerror(errno));
		return false;
	}
	if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0)
	{
		log_write(LOG_LEVEL_ERROR,
				  "tokens refused file=%s error=\"others may read or change it\" hint=\"chmod 600\"", path);
		return false;
	}
	return true;
}

/* Reads the token file; where there is something wrong with it, that is logged and the tokens stay as they are. */
bool
options_load_tokens(void)
{
	size_t length;
	char *text;
	Tokens read;
	const char *problem;
	int line_number;

	if (options.token_file == NULL)
		return true;
	if (!is_private(options.token_file))
		return false;
	text = options_read_file(options.token_file, &length);
	if (text == NULL)
		return false;
	problem = tokens_parse(&read, text, length, &line_number);
	memset(text, 0, length);
	free(text);
	if (problem == NULL && read.count == 0)
		problem = "it has no token";
	if (problem != NULL)
	{
		log_write(LOG_LEVEL_ERROR, "tokens refused file=%s line=%d error=\"%s\"", options.token_file,
				  line_number, problem);
		tokens_free(&read);
		return false;
	}
	tokens_free(&tokens);
	tokens = read;
	log_write(LOG_LEVEL_INFO, "tokens read file=%s count=%d", options.token_file, tokens.count);
	return true;
}
