"""Shapes of objects, as text in a small language.

An object lies in a square from -100 to 100, y axis down; standing objects end at about y = 85. A shape is
a list of parts, drawn in order. A part is `[styles:][±]primitive[*columns,rows,dx,dy] colour numbers`:

- styles: the styles of the object that have the part, such as `02:`; without it, all three.
- ±: drawn a second time, mirrored.
- `*columns,rows,dx,dy`: repeated in a grid.
- colour: a letter, with the brightness in tenths unless it is 10: B body, A accent, M trim, fixed colours.

The primitives and their numbers are the methods of `Canvas`.
"""

from dataclasses import dataclass

_SHAPES = """
sofa: ±box M 62 58 74 85; box B -92 -50 92 40 14; 0:box*2,1,84,0 B12 -82 -40 -2 8 8
  1:box*3,1,56,0 B12 -84 -40 -30 8 8; box B8 -74 22 74 62 5; 0:box*2,1,74,0 B11 -72 5 -2 30 8
  12:box*3,1,49,0 B11 -72 5 -26 30 8; ±box B9 68 -22 98 62 12; 2:art A -66 -42 66 2; 01:±box A 40 -22 60 0 6
table: ±box M8 70 -5 80 85; 2:±box M7 56 -10 62 66; poly B12 -95 -22 95 -22 100 -8 -100 -8
  box B -100 -8 100 4; 1:box B8 -72 45 72 52; 0:box B8 -68 4 68 14; 2:box A -60 -26 60 -20
chair: ±line M8 7 34 20 42 85; ±line M6 6 28 18 30 70; ±box M 32 -80 40 20; box M -36 -80 36 -64 4
  0:box*5,1,15,0 M8 -32 -64 -28 10; 1:box*1,3,0,20 M9 -33 -52 33 -42; 2:box B9 -30 -60 30 0 6
  box B -44 8 44 24 6; box B12 -42 6 42 12 4; 2:art A -26 -54 26 -8
lamp: 0:poly M -24 85 24 85 8 70 4 0 -4 0 -8 70; 1:line M 5 0 0 0 80; 1:disc M8 0 82 30 30
  2:line M8 5 0 0 0 40; 2:disc M 0 52 30 100; 2:box M8 -22 78 22 87 2; poly B -24 -70 24 -70 48 -2 -48 -2
  poly B12 -24 -70 0 -70 -10 -2 -48 -2; art A -32 -34 32 -10
bed: box M -92 -72 92 20 10; 0:box*7,1,25,0 M7 -84 -60 -78 0; 1:art A -80 -62 80 -10
  poly W9 -88 -8 88 -8 96 66 -96 66; ±box W 8 -26 80 4 8; poly B -92 6 92 6 98 68 -98 68; art A -84 16 84 60
  box B12 -94 4 94 14 3; box M8 -98 64 98 84 3
cabinet: box B -60 -90 60 85 2; 0:box*2,1,58,0 B12 -56 -84 -2 78; 0:±disc S 6 0 4
  1:box*1,4,0,42 B12 -54 -84 54 -48; 1:box*1,4,0,42 S -12 -68 12 -64; 2:box B12 -56 -84 56 -30
  2:box*2,1,58,0 B12 -56 -24 -2 78; 2:±disc S 6 20 4; 2:box S -12 -58 12 -54; box B8 -62 -94 62 -88
filing: box B -42 -85 42 85 2; box*1,3,0,56 B12 -36 -80 36 -30 2; box*1,3,0,56 S -14 -58 14 -52
  box*1,3,0,56 W -12 -74 12 -66
mirror: 0:disc M 0 0 80; 0:disc I 0 0 68; 0:ring A 0 0 74 3; 1:box M -52 -90 52 90 4; 1:box I -42 -80 42 80
  2:disc M 0 0 60 145; 2:disc I 0 0 50 150; poly I12 -30 20 10 -40 26 -34 -14 30; 1:box A -48 -86 48 -83
plant: poly V 0 25 -20 -30 -75 -50 -30 0; poly V8 0 25 20 -30 75 -55 30 0
  poly V9 0 25 -14 -60 -6 -95 10 -50; poly V11 0 25 -40 -30 -60 -85 -14 -20
  poly V12 0 25 40 -30 52 -88 16 -20; 1:poly V 0 25 -60 0 -95 10 -40 20; 1:poly V8 0 25 60 0 95 5 40 20
  2:±disc A 40 -60 12; 2:disc A 0 -84 12; poly B -34 26 34 26 25 85 -25 85
  poly B12 -22 26 -4 26 -6 85 -16 85; box B9 -38 20 38 34 2; art A -22 46 22 70
bookcase: box B -58 -92 58 88; box B6 -52 -86 52 82; box*5,1,9,0 A -46 -80 -40 -50
  box*3,1,10,0 M 4 -36 10 -7; box*4,1,8,0 W -40 4 -35 36; 1:box*4,1,11,0 B12 -10 48 -3 79
  2:disc A 30 -62 12; box*1,4,0,43 B12 -54 -50 54 -45
desk: box B -98 -12 98 2; box M8 -92 0 -84 85; 0:box B9 30 2 92 85; 0:box*1,3,0,28 B12 34 6 88 30
  0:box*1,3,0,28 S 54 16 68 19; 12:box M8 84 0 92 85; 1:box B9 -84 10 84 40; 2:box B9 -84 2 84 16
  2:box*2,1,84,0 B12 -80 4 -4 14; 2:box*2,1,84,0 S -46 8 -38 10
office_chair: 1:box B12 -24 -100 24 -84 6; box B -36 -92 36 -8 14; art A -28 -80 28 -30; box M8 -6 -10 6 20
  box B9 -46 6 46 30 10; 02:±line M7 6 40 10 54 -2 54 -26; 02:±box K 46 -32 62 -24 3; box S -5 30 5 62
  ±line K 8 0 60 50 78; line K 8 0 60 0 82; ±disc K 52 82 8; disc K 0 86 8
monitor: 0:box M -10 44 10 70; 0:box M8 -40 68 40 78 3; 1:±line M 6 50 44 64 78
  2:poly M -14 40 14 40 34 78 -34 78; box B -92 -62 92 46 4; box G -87 -57 87 38
  poly G14 -87 -57 -20 -57 -60 38 -87 38; logo A 0 42 7
laptop: poly B -70 -70 70 -70 74 20 -74 20; poly G -64 -64 64 -64 68 14 -68 14; 1:art A -54 -54 54 4
  poly B11 -74 20 74 20 98 64 -98 64; box B8 -98 64 98 70 2; box*9,1,15,0 K -66 25 -54 31 1
  box*9,1,17,0 K -74 36 -60 43 1; poly B8 -20 48 20 48 24 60 -24 60; 2:poly V -64 -10 64 -20 68 14 -68 14
keyboard: box B -98 -34 98 34 6; 0:box*12,3,15,15 W -90 -27 -78 -15 2; 12:box*12,3,15,15 K -90 -27 -78 -15 2
  box W9 -40 18 40 29 2; 2:box*3,1,15,0 A -75 -12 -63 0 2; 1:box A -90 18 -60 29 2; logo A 76 24 6
piano: box B -98 -26 98 32 3; box K -92 -22 92 -6 2; box*14,1,13,0 W -92 0 -80 28
  box*9,1,20,0 K -84 0 -77 16; disc*5,1,10,0 A -80 -14 3; 1:box G 0 -20 30 -8 2; logo W 70 -14 8
  2:±line M 6 60 30 -60 85
speaker: box B -40 -85 40 85 4; box B8 -36 -80 36 80 2; disc K 0 30 30; disc M8 0 30 22; disc K 0 30 9
  02:disc K 0 -40 18; 02:disc S 0 -40 9; 1:disc M8 0 -36 26; 1:disc K 0 -36 10; logo A 0 72 9
phone: box B -44 -92 44 92 12; 0:box G -40 -86 40 86 8; 0:box*4,5,18,22 A -32 -66 -22 -54 3
  0:poly G14 -40 -86 0 -86 -26 86 -40 86; 1:box B12 -38 -86 -2 -46 8; 1:disc*1,2,0,20 K -20 -76 8
  1:logo W 0 20 12; 2:box B8 -36 -84 36 -60 8; 2:disc*3,1,20,0 K -20 -72 7; 2:logo A 0 30 12
phone_case: box B -46 -94 46 94 14; box B7 -40 -88 40 88 10; box K -36 -84 -2 -46 8; 02:art A -36 -34 36 80
  1:disc A 0 24 26; 1:disc B 0 24 14
tablet: box B -70 -92 70 92 8; box G -62 -82 62 82 2; poly G14 -62 -82 10 -82 -40 82 -62 82
  02:box*4,4,28,28 A -50 -66 -36 -52 4; 1:art A -50 -60 50 60; disc K 0 87 3
headphones: arc B 0 0 66 10 180 360; arc M 0 2 58 4 190 350; ±box K 50 -4 78 50 12; ±box B 58 -8 86 54 14
  ±disc A 72 22 8; 1:line K 3 -70 50 -40 85 40 90; 2:line K 4 -70 44 -54 72 -10 72
dress: arc S 0 -92 6 2 150 400; line M 3 -30 -70 0 -84 30 -70; 1:±poly B8 24 -74 56 -42 42 -28 22 -46
  2:±poly B9 26 -74 60 10 46 16 22 -40
  poly B -26 -74 -12 -72 0 -58 12 -72 26 -74 20 -10 56 80 -56 80 -20 -10; art A -22 0 22 74
  ±line B8 2 8 0 24 78; box A -20 -14 20 -6
coat: 1:disc B8 0 -76 28; ±poly B8 30 -66 46 -58 76 40 54 46 34 -10; ±poly A 74 34 76 42 56 48 54 40
  poly B -36 -68 -12 -78 12 -78 36 -68 42 72 -42 72; art A -36 -20 36 50; poly A8 -16 -80 16 -80 0 -44
  line B6 3 0 -46 0 72; 02:disc*1,5,0,20 M 6 -30 4; ±box B7 12 30 34 34; logo W 22 -40 8
jumper: ±poly B9 40 -60 84 0 64 16 40 -20; 12:±poly B9 42 -60 86 54 66 60 40 -16
  poly B -42 -62 -16 -72 16 -72 42 -62 44 66 -44 66; disc B7 0 -70 18 40; art A -36 -30 36 30
  box B8 -44 58 44 66
shoe: poly B7 -68 8 -62 -12 -8 -28 24 -50 70 -50 78 8; box M8 -72 4 84 20 7; 1:box B 4 -80 54 10 6
  poly B -86 42 -80 22 -26 6 6 -30 52 -30 60 42; box M -90 38 66 54 7; box K -90 50 66 55 2
  line*4,1,8,-7 W 3 -30 10 -14 16; 0:poly*3,1,12,0 A 5 38 11 38 21 10 15 10; 2:art A 0 4 50 34
  logo A 44 22 9
bag: arc M 0 -20 34 6 180 360; poly B -52 -24 52 -24 62 70 -62 70; 01:poly B12 -53 -26 53 -26 38 20 -38 20
  art A -44 28 44 62; 01:box Y -7 12 7 26 2; 1:line M 4 50 -20 68 30 56 85; 2:box B8 -36 14 36 62 8
  2:±box M 40 -22 47 40; 2:box S -20 14 20 17; logo A 0 -6 12
watch: box B -20 -98 20 98 8; disc*1,4,0,7 K 0 60 2; box S 36 -5 46 5; 01:disc M 0 0 42; 0:disc W 0 0 35
  1:disc K 0 0 35; 2:box M -38 -42 38 42 10; 2:box G -32 -36 32 36 6; line A 3 0 0 16 -18
  line S 2 0 0 0 -28
washer: box B -66 -85 66 85 4; box B12 -66 -85 66 -58 3; box K -58 -78 -24 -66 2; disc S 40 -72 8
  box G 0 -78 26 -66 2; disc S 0 10 48; disc K 0 10 40; disc G14 0 10 32; poly I -20 -8 6 -18 -8 24 -24 20
  box B8 -66 74 66 85; logo A -40 -50 8
fridge: box B -46 -95 46 90 4; 01:box B12 -42 -92 42 -30 3; 01:box B11 -42 -24 42 84 3
  01:box S 30 -60 35 -36; 01:box S 30 -16 35 30; 1:box G -14 -80 14 -62 2
  2:box*2,1,43,0 B12 -42 -92 -2 84 3; 2:±box S 4 -30 8 20; logo A -22 -84 9
microwave: box B -85 -48 85 48 4; box K -78 -40 38 40 3; box G -70 -32 30 32 2
  poly G14 -70 -32 -20 -32 -46 32 -70 32; box B12 42 -40 80 40 2; box G 46 -34 76 -20
  02:disc*3,3,10,13 S 52 -6 4; 1:disc*1,2,0,28 S 61 2 11; box S 36 -34 40 34
kettle: arc M -38 10 40 9 90 270; poly B -34 -50 34 -50 48 70 -48 70; poly B12 -26 -50 -8 -50 -16 70 -38 70
  box M8 -52 70 52 84 4; poly B8 34 -40 70 -56 42 -8; box K -22 -60 22 -50 4; disc K 0 -64 7
  box I 4 0 12 50 2; logo A 26 50 8
toaster: box C -40 -62 -4 -20 8; 02:box C9 4 -62 40 -20 8; box B -70 -32 70 62 16; box B12 -60 -26 60 -16 4
  box M 66 -10 82 6 3; disc S 50 36 9; art A -58 0 30 44; ±box K 40 60 56 70; logo W -14 52 8
vacuum: 02:line M 6 -10 40 44 -88; 0:box B -46 20 40 70 14; 2:box B -40 -10 36 70; disc K -24 66 22
  disc S -24 66 9; 0:box B12 -20 6 30 40 10; 1:box B -18 -50 18 50 10; 1:line M 6 0 -40 0 -96
  line K 8 36 40 70 66; box A 40 66 94 82 3
pram: wheel K -44 66 22; wheel K 44 66 22; line M 5 -40 64 36 -30 72 -60; line M 5 44 64 -30 -10
  poly B -56 -20 44 -20 30 30 -36 34; poly B8 -56 -20 -60 -66 -20 -84 10 -60 -4 -20; art A -48 -12 36 10
  line K 6 60 -62 84 -58; 2:box M -30 40 26 54 3; 1:line A 3 -60 -66 10 -60
cot: ±box M 76 -70 86 80; box M -86 -50 86 -40; box M -86 40 86 50; box B -78 18 78 40 3; art A -70 20 70 38
  box W -70 6 -30 22 6; box*12,1,14,0 M9 -78 -40 -74 40; 2:±disc A 80 -74 8; 1:box M8 -86 50 86 74
teddy: ±disc B9 30 -66 16; ±disc A 30 -66 9; ±disc B 44 0 18; ±disc B9 28 66 24; disc B 0 28 42
  disc B12 0 32 26; disc B 0 -42 36; disc B13 0 -32 16; ±disc K 12 -50 4; disc K 0 -36 5
  1:±poly A 0 -6 20 -16 20 4; 2:box A -30 -10 30 0 4
toy_car: poly B -46 -36 24 -36 50 0 -66 0; box B -92 0 92 36 10; poly I -38 -28 -6 -28 -6 -2 -52 -2
  poly I 2 -28 20 -28 40 -2 2 -2; ±disc K 50 40 22; ±disc S 50 40 10; disc Y 86 12 7; 0:box A -92 14 92 22
  1:art A -60 4 60 30; 2:box A -34 -48 -4 -36 3
drill: box S 76 -22 98 -18; box B -56 -44 44 4 10; box K 44 -34 62 -6 4; box S 62 -28 78 -12
  poly B9 -40 0 -6 0 -16 50 -44 50; box K -58 48 2 80 5; box A -50 54 -10 74 3; logo W -16 -20 12
  box K -14 4 -4 18 3
saw: poly S -98 -10 40 -34 40 20 -98 6; line S7 3 -98 6 40 20; box B 36 -44 84 30 12; box K 50 -24 70 12 8
  disc S 44 -20 3; logo A -20 -6 10
ladder: ±line M7 4 12 -84 64 80; ±line B 7 16 -90 38 85; box*1,5,0,30 B12 -30 -66 30 -58
  box A -24 -96 24 -84 3
tin: arc S 0 -40 50 3 190 350; box B -46 -40 46 80; box W -46 -6 46 54; art A -40 4 40 30
  disc S 0 -40 46 28; disc M8 0 -40 38 22; logo K 0 42 14
toolbox: box K -40 -60 40 -52 4; ±box K 32 -60 40 -38; poly B12 -85 -10 -70 -40 70 -40 85 -10
  box B -85 -10 85 70 4; ±box S 46 -2 60 16 2; box A -85 24 85 32; logo W 0 52 14
guitar: line M 12 0 -20 0 -78; box M8 -10 -98 10 -76 3; 02:disc B 0 8 34; 02:disc B 0 50 46 90
  02:disc K 0 24 13; 1:poly B -46 -16 -10 6 10 6 40 -20 44 40 40 86 -44 86 -40 40
  1:box*1,2,0,24 K -18 24 18 34; box M6 -20 62 20 68; line*4,1,4,0 S 1 -6 -80 -6 62; 2:ring A 0 24 16 3
books: 2:box*5,1,17,0 A -50 -80 -36 -4 2; 1:box A8 -66 -60 50 -34 3; 01:box B9 -60 -34 70 -4 3
  box M -76 -4 60 24 3; box A -70 22 76 53 3; box B -80 52 72 83 3; box*1,2,0,30 W -66 28 -58 48
  logo W 0 67 11
record: 1:disc K 60 0 74; 1:disc A 60 0 20; box B -88 -88 70 88 2; art A -80 -50 62 80; logo W -10 -66 24
  2:disc K -8 10 70; 2:disc A -8 10 24; 2:disc W -8 10 4
disc_case: 1:box K -80 -60 20 94 3; 1:box M -74 -56 16 90; 2:box K -30 -94 84 60 3; 2:box A8 -24 -90 80 56
  box K -56 -80 56 80 3; box B -50 -76 54 76; art A -44 -40 48 60; box A -50 -76 54 -56; logo W 2 -66 14
boxed_set: box B8 -84 -60 84 66 3; box B -80 -60 80 58 3; box B12 -74 -54 74 52; art A -66 -46 66 18
  logo K 0 36 24
console: 0:box B -85 -26 85 34 4; 0:box B7 -85 2 85 8; 1:box B -40 -88 40 60 6; 1:box A -36 -10 36 -4
  2:box B -96 -42 96 46 16; 2:box G -60 -34 60 38 3; 2:±disc K 78 -12 10; 01:box K 34 50 88 78 10
  logo W -40 20 12; 01:disc A 70 18 5
controller: ±disc B9 58 34 32; box B -70 -42 70 34 26; ±disc K 26 24 16; ±disc K14 26 24 10; disc A 52 -24 6
  disc Y 66 -8 6; disc V 52 8 6; disc I 38 -8 6; box K -62 -14 -34 -4 2; box K -53 -24 -43 6 2
  1:art A -20 -36 20 -8; logo W 0 -22 10
hair_dryer: line K 4 -16 70 -10 90 30 95; poly B9 -34 -6 2 -6 -4 74 -30 74; box B -56 -62 50 2 24
  disc B8 -40 -30 26; box K 48 -54 72 -6 4; box A -24 14 -12 30 3; logo W 10 -30 10
shaver: box B -24 -62 24 90 16; box S -22 -88 22 -60 9; disc K 0 -14 9; box A -12 16 12 56 4
  box B12 -18 -50 -12 80 3; logo W 0 70 9
bottle: 0:box B -38 -32 38 82 8; 0:box I -28 -10 28 72 5; 1:disc B 0 32 48; 1:disc I 0 32 34
  2:poly B -20 -32 20 -32 52 82 -52 82; box Y -14 -56 14 -30 3; box K -10 -80 10 -56 3; art A -20 6 20 26
  logo K 0 46 14
make_up: box B -85 -55 85 55 6; box K -78 -48 78 48 3; box*3,2,50,48 A -72 -42 -54 -8 3
  box*3,2,50,48 B12 -48 -42 -30 -8 3; 1:line M 5 -60 70 60 74; 2:box I -78 -48 78 -4 3
bike: wheel K -52 40 40; wheel K 54 40 40; line B 6 -52 40 2 42 -16 -24 -52 40; line B 6 2 42 38 -28 -14 -18
  line M 5 54 40 34 -42; line S 3 -16 -24 -20 -40; box K -36 -48 -6 -39 4; 0:line M 5 34 -42 30 -54 52 -56
  12:line M 5 34 -42 36 -54 56 -50 54 -36; disc S 2 42 10; line K 4 2 42 12 60; 2:box M8 46 -62 82 -36 3
  logo A 18 4 8
ball: disc B 0 10 66; 0:disc K 0 10 18; 0:±disc K 44 -14 13; 0:±disc K 30 56 13; 0:disc K 0 -46 12
  1:line K 3 -66 10 66 10; 1:line K 3 0 -56 0 76; 1:arc K 80 10 62 3 140 220; 1:arc K -80 10 62 3 -40 40
  2:art A -44 -30 44 50; logo A 0 34 12
dumbbell: box S -50 4 50 16; ±box B 38 -30 52 50 5; ±box B8 54 -22 66 42 5; ±box A 66 -12 74 32 4
  1:box S -50 60 50 70; 1:±box B 38 40 54 90 5; 2:±box B 24 -38 38 58 5; logo W 0 10 8
tent: poly B -96 60 0 -62 96 60; poly B7 0 -62 96 60 34 60; poly A6 0 -38 -34 60 20 60
  poly A 0 -38 -34 60 -8 60; line M 3 -96 60 0 -62 96 60; ±line W 1 52 -2 100 74; 1:box B9 60 0 98 60 3
  2:line A 3 -60 14 60 14
suitcase: line S 4 -16 -62 -16 -94 16 -94 16 -62; ±disc K 42 78 8; box B -52 -64 52 70 10
  0:box*5,1,20,0 B8 -42 -56 -38 64 2; 1:box A -52 -6 52 2; 2:±box M 26 -64 34 70; box K -12 -72 12 -62 3
  logo W 0 -40 11
camera: box B9 -30 -64 30 -40 5; box B -80 -44 80 56 8; box K -80 -14 80 40; disc K 0 14 40; disc M 0 14 32
  disc G 0 14 22; disc I -8 6 6; disc S 60 -48 8; box A -70 -36 -46 -26 2; logo W 48 -28 9
  1:arc K 0 -40 84 4 200 340
crate: poly C12 -70 -20 -50 -50 60 -50 70 -20; 01:box A -44 -62 -20 -16 3; 0:disc B 14 -40 20
  1:box B -10 -74 34 -16 4; box C -70 -20 70 80; line C7 3 0 -20 0 80; 2:box C8 -70 24 70 34
  2:box W9 20 40 60 64; logo K -30 52 16
"""

LYING = frozenset(
    (
        *("phone", "phone_case", "tablet", "keyboard", "controller", "disc_case", "headphones"),
        *("camera", "drill", "saw", "hair_dryer", "shaver", "make_up", "dress"),
        *("jumper", "shoe", "coat", "bag", "watch", "record", "ball", "dumbbell"),
        "boxed_set",
    )
)
"""Shapes that lie flat, seen from above at any angle. All others stand on a floor in front of a wall."""


@dataclass(frozen=True)
class Part:
    """A part of a shape.

    Attributes:
        primitive: name of a method of `Canvas`.
        color: letter of the colour.
        brightness: factor on the colour.
        numbers: arguments of the method, in units of the object's space.
        styles: digits of the styles that have the part.
        mirrored: whether it is drawn a second time, mirrored.
        grid: columns, rows, and their steps.
    """

    primitive: str
    color: str
    brightness: float
    numbers: tuple[float, ...]
    styles: str
    mirrored: bool
    grid: tuple[int, int, float, float]


def _parse_part(text: str) -> Part:
    head, color, *numbers = text.split()
    styles, _, head = head.rpartition(":")
    head, _, grid = head.partition("*")
    columns, rows, dx, dy = map(int, (grid or "1,1,0,0").split(","))
    return Part(
        head.lstrip("±"),
        color[0],
        int(color[1:] or 10) / 10,
        tuple(int(number) / 100 for number in numbers),
        styles or "012",
        head.startswith("±"),
        (columns, rows, dx / 100, dy / 100),
    )


def _parse_shapes(text: str) -> dict[str, tuple[Part, ...]]:
    lines = text.strip().replace("\n  ", "; ").splitlines()
    return {
        name: tuple(map(_parse_part, parts.split(";")))
        for name, _, parts in (line.partition(":") for line in lines)
    }


SHAPES = _parse_shapes(_SHAPES)
