<?php
// For PHP's built-in server: as many bytes as the path says, with a Content-Length, or as many pieces of 400 bytes, flushed, with a
// pause of so many milliseconds between them.
[, $kind, $count, $pause] = explode('/', $_SERVER['REQUEST_URI']) + [3 => 0];
header('Content-Type: text/plain');
if ($kind === 'bytes') {
    header("Content-Length: $count");
    echo str_repeat('p', (int) $count);
} else {
    for ($left = (int) $count; $left > 0; $left--) {
        echo str_repeat('p', 400);
        if (ob_get_level()) ob_flush();
        flush();
        usleep(1000 * (int) $pause);
    }
}
