/* On Linux: argv[1] is the blob. */
#include <stdio.h>
#include <stdlib.h>

#include "parity.h"

void parity_print(const char *line) { fputs(line, stdout); }

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 2;
    const long bytes = ftell(file);
    rewind(file);
    uint8_t *blob = malloc((size_t)bytes);
    if (blob == NULL || fread(blob, 1, (size_t)bytes, file) != (size_t)bytes) return 2;
    fclose(file);
    const int status = parity_run(blob);
    free(blob);
    return status;
}
