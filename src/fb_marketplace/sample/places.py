"""British towns and their counties."""

_TOWNS = """
Aberdeenshire: Inverurie, Peterhead; Bedfordshire: Luton, Leighton Buzzard;
Berkshire: Newbury, Bracknell; Bristol: Clifton, Bedminster;
Buckinghamshire: Aylesbury, High Wycombe; Cambridgeshire: Ely, Huntingdon;
Cardiff: Canton, Roath; Cheshire: Crewe, Macclesfield; Cornwall: Truro, Penzance;
County Antrim: Lisburn, Ballymena; Cumbria: Kendal, Barrow-in-Furness;
Derbyshire: Buxton, Matlock; Devon: Barnstaple, Totnes; Dorset: Poole, Bridport;
East Sussex: Lewes, Hastings; Edinburgh: Leith, Morningside; Essex: Colchester, Chelmsford;
Glasgow: Partick, Shawlands; Gloucestershire: Stroud, Cheltenham; Gwynedd: Bangor, Pwllheli;
Hampshire: Winchester, Andover; Kent: Margate, Tonbridge; Lancashire: Burnley, Lancaster;
Leicestershire: Loughborough, Hinckley; Lincolnshire: Boston, Grantham;
London: Hackney, Croydon, Ealing, Lewisham, Walthamstow; Manchester: Chorlton, Didsbury;
Merseyside: Bootle, Southport; Norfolk: King's Lynn, Cromer; Northumberland: Hexham, Alnwick;
Nottinghamshire: Newark-on-Trent, Mansfield; Oxfordshire: Banbury, Bicester;
Shropshire: Ludlow, Telford; Somerset: Frome, Taunton; South Yorkshire: Barnsley, Rotherham;
Suffolk: Ipswich, Bury St Edmunds; Surrey: Guildford, Woking; Swansea: Mumbles, Sketty;
Tyne and Wear: Gateshead, Sunderland; West Midlands: Solihull, Dudley;
West Yorkshire: Hebden Bridge, Wakefield; Wiltshire: Swindon, Devizes
"""

PLACES: tuple[str, ...] = tuple(
    f"{town}, {county}"
    for county, _, towns in (
        line.partition(": ") for line in _TOWNS.strip().replace("\n", " ").split("; ")
    )
    for town in towns.split(", ")
)
